//! The address of what the host itself asks over HTTP, and of whom it tells.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// How a URL begins that definitions are fetched from.
const SCHEMES: [&str; 2] = ["http://", "https://"];

/// A URL that definitions are fetched from: `http` or `https`, without a user or a password.
///
/// As text it has no query, which may hold what is nobody else's business, as the signature of a
/// link does: `https://example.com/jobs.json?…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// Whether a text that may as well be the path of a file is meant as a URL.
    pub fn is_meant(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| {
            let beginning = text.get(..scheme.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme))
        })
    }

    /// Reads a URL. A fragment is left out: it is nothing that a server sees.
    ///
    /// # Errors
    /// What is wrong, and what would be right, as `wrong: right`. Never tells a password, or a
    /// query.
    pub fn parse(text: &str) -> Result<HttpUrl, String> {
        if !Self::is_meant(text) {
            let scheme = text.split_once("://").map(|(scheme, _)| scheme);
            return Err(match scheme {
                Some(scheme) if is_scheme(scheme) => {
                    format!("no {scheme} is spoken here: write http:// or https://")
                }
                _ => "it is no URL: write one such as \"https://example.com/jobs.json\"".into(),
            });
        }
        let url = Url::parse(text)
            .map_err(|error| format!("it is no URL: {error}"))
            .map(without_fragment)?;
        Self::of(url)
    }

    /// The URL that a reference, as in a redirect, leads to from this one.
    ///
    /// # Errors
    /// What is wrong with it, as `wrong: right`.
    pub fn join(&self, reference: &str) -> Result<HttpUrl, String> {
        let url = self
            .0
            .join(reference)
            .map_err(|error| format!("it is no URL: {error}"))?;
        Self::of(without_fragment(url))
    }

    fn of(url: Url) -> Result<HttpUrl, String> {
        match url.scheme() {
            "http" | "https" => {}
            other => {
                return Err(format!(
                    "no {other} is spoken here: write http:// or https://"
                ));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user or a password in a URL would be told in errors and logs: put a bearer token into a secret, and name it with `token`".into());
        }
        Ok(HttpUrl(url))
    }

    /// All of it, with what the text form leaves out.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether what is fetched from it cannot be read or changed on the way.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether both have the same scheme, host and port: what is told to one is told to the other.
    pub fn is_same_origin(&self, other: &HttpUrl) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// The name or the address of the host.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The host and the port.
    pub fn host_and_port(&self) -> String {
        let port = self.0.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.host())
    }

    /// Whether it leads to this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
            None => false,
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(to, "{}://{}", url.scheme(), self.host())?;
        if let Some(port) = url.port() {
            write!(to, ":{port}")?;
        }
        to.write_str(url.path())?;
        match url.query() {
            Some(_) => to.write_str("?…"),
            None => Ok(()),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap()
    }

    #[test]
    fn a_url_is_told_from_the_path_of_a_file() {
        for meant in ["https://example.com/jobs.json", "HTTP://localhost:8080"] {
            assert!(HttpUrl::is_meant(meant), "{meant}");
        }
        for path in [
            "jobs.json",
            "https:/jobs.json",
            "http",
            "./https://x",
            "größe",
        ] {
            assert!(!HttpUrl::is_meant(path), "{path}");
        }
    }

    #[test]
    fn what_is_secret_in_a_url_is_not_told() {
        let signed = url("https://store.example.com:8443/a%20b.json?sig=hunter22#top");
        assert_eq!(
            signed.to_string(),
            "https://store.example.com:8443/a%20b.json?…"
        );
        assert_eq!(
            signed.as_str(),
            "https://store.example.com:8443/a%20b.json?sig=hunter22"
        );
        for bad in [
            "https://user:hunter22@example.com/",
            "https://hunter22@example.com/",
            "ftp://hunter22@example.com/",
            "https://:hunter22@",
            "https://example.com:hunter22/",
            "hunter22",
        ] {
            let told = HttpUrl::parse(bad).unwrap_err();
            assert!(!told.contains("hunter22"), "{told}");
        }
    }

    #[test]
    fn a_reference_leads_on_from_where_it_is_met() {
        let from = url("https://example.com/a/jobs.json?x=1");
        for (reference, to) in [
            ("b.json", "https://example.com/a/b.json"),
            ("/b.json#here", "https://example.com/b.json"),
            ("//other.example/b", "https://other.example/b"),
            ("http://example.com/b", "http://example.com/b"),
        ] {
            assert_eq!(from.join(reference).unwrap().as_str(), to);
        }
        assert!(from.join("file:///etc/passwd").is_err());
        assert!(from.join("https://u:p@example.com/").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let from = url("https://example.com/jobs.json");
        for same in ["https://example.com:443/x", "https://EXAMPLE.com/"] {
            assert!(from.is_same_origin(&url(same)), "{same}");
        }
        for other in [
            "http://example.com/jobs.json",
            "https://example.com:8443/",
            "https://a.example.com/",
        ] {
            assert!(!from.is_same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn this_machine_has_several_names() {
        for here in ["http://localhost:1", "http://127.0.0.2/", "http://[::1]/x"] {
            assert!(url(here).is_loopback(), "{here}");
        }
        assert!(!url("http://localhost.example.com").is_loopback());
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_a_url_or_not(text in "(https?://)?\\PC{0,40}") {
            if let Ok(url) = HttpUrl::parse(&text) {
                prop_assert_eq!(HttpUrl::parse(url.as_str()), Ok(url.clone()));
                prop_assert!(url.is_same_origin(&url) && !url.host().is_empty());
            }
        }

        #[test]
        fn a_query_is_never_told(path in "[a-z]{0,8}", query in "[0-9]{4,12}") {
            let url = url(&format!("https://example.com/{path}?{query}"));
            prop_assert!(!url.to_string().contains(&query));
            prop_assert!(url.as_str().contains(&query));
        }
    }
}
