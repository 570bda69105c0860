//! One try to send an event.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::{seconds, sign};
use crate::clock::Timestamp;
use crate::policy::HookSettings;
use crate::record::Delivery;
use crate::secret::Providers;
use crate::units::format_duration_exact;
use crate::web::{self, WebClient, WebFailure};

/// Sends events. Keeps whom the system trusts once that has been needed.
#[derive(Debug, Default)]
pub(super) struct Poster(WebClient);

/// Why an event has not arrived.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What is wrong, and what to do.
    pub(super) message: String,
    /// Whether there is no sense in trying again.
    pub(super) is_final: bool,
    /// How long not to try again, if the server says so.
    pub(super) retry_after: Option<Duration>,
}

impl Trouble {
    /// One that another try may not meet.
    pub(super) fn passing(message: impl Into<String>) -> Trouble {
        Trouble {
            message: message.into(),
            is_final: false,
            retry_after: None,
        }
    }

    /// One that every try would meet.
    pub(super) fn lasting(message: impl Into<String>) -> Trouble {
        Trouble {
            is_final: true,
            ..Trouble::passing(message)
        }
    }
}

impl From<WebFailure> for Trouble {
    fn from(failure: WebFailure) -> Trouble {
        let WebFailure {
            message,
            advice,
            retry_after,
        } = failure;
        Trouble {
            retry_after,
            ..Trouble::passing(format!("{message}: {advice}"))
        }
    }
}

impl Poster {
    /// Sends an event to a hook. Blocks until it has arrived, or not.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn post(
        &self,
        hook: &HookSettings,
        delivery: &Delivery,
        secrets: &Providers,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let agent = self.0.agent(&hook.url)?;
        let (id, time) = (delivery.id.to_string(), seconds(now));
        let mut request = agent
            .post(hook.url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &time);
        if let Some(name) = &hook.secret {
            // It may be there by the next try.
            let secret = secrets
                .resolve(name)
                .map_err(|error| Trouble::passing(format!("it cannot be signed: {error}")))?;
            let signature = sign::signature(secret.reveal(), &id, &time, &delivery.body);
            request = request.header("webhook-signature", signature);
        }
        let mut config = request.config().timeout_global(Some(hook.timeout));
        if hook.url.is_loopback() {
            config = config.proxy(None);
        }
        let response = config.build().send(&*delivery.body).map_err(|error| {
            let timeout = || {
                let within = format_duration_exact(hook.timeout);
                Trouble::passing(format!(
                    "is not answered within {within}: `timeout` of its [[hook]] allows more"
                ))
            };
            web::failure(&hook.url, &error).map_or_else(timeout, Trouble::from)
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Trouble {
            message: refused(status, hook.secret.is_some()),
            is_final: is_final(status),
            retry_after: web::retry_after(response.headers()),
        })
    }
}

/// Whether a server would say the same the next time.
fn is_final(status: StatusCode) -> bool {
    let may_pass = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
        // Both while the operator of either side mends it.
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
    ];
    !(status.is_server_error() || may_pass.contains(&status))
}

/// Says what it means that a server answers with this status.
fn refused(status: StatusCode, is_signed: bool) -> String {
    let advice = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_signed => {
            "is the secret the one that the other side has?"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "if it wants a signature, name a secret with `secret`"
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => "is the URL right?",
        status if status.is_redirection() => "redirects are not followed: name where it leads",
        status if status.is_server_error() => "the server or what is before it has a problem",
        _ => "an event that has arrived is answered with a status of 200 to 299",
    };
    let reason = status.canonical_reason().unwrap_or("");
    let status = format!("{} {reason}", status.as_u16());
    format!("is answered with {}: {advice}", status.trim_end())
}
