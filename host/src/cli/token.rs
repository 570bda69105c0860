//! `quarterjack token`: who may ask a host over TCP, and for what.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::history::Data;
use super::output::Screen;
use super::output::grid::{Column, Grid};
use super::output::json::json_line;
use super::{Exit, Refusal, remark};
use crate::api::access::{Role, Tokens};
use crate::clock::{Clock as _, SystemClock, format_instant};

/// The arguments of `token`.
#[derive(Debug, Args)]
#[command(after_help = "\
A running host follows at once. A token is printed when it is made, and never again: what is kept\n\
of it is a hash. With no token at all, a host on 127.0.0.1 can be looked at and nothing else.")]
pub(super) struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it, this once
    Add {
        /// Whom it is for
        #[arg(value_name = "NAME")]
        name: String,
        /// What its bearer may do: read, operate (and read), admin (and both)
        #[arg(long, value_name = "ROLE")]
        role: Role,
        #[command(flatten)]
        data: Data,
    },
    /// List the tokens there are
    List {
        #[command(flatten)]
        data: Data,
        /// Print one JSON object a line for each
        #[arg(long)]
        json: bool,
    },
    /// Take a token back
    Rm {
        /// Whom it was for
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        data: Data,
    },
}

impl Token {
    /// Does it.
    pub(super) fn execute(self, screen: Screen) -> Result<Exit, Refusal> {
        let tokens = |data: &Data| data.place().map(|place| Tokens::of(&place));
        let mut out = io::stdout().lock();
        match self.what {
            What::Add { name, role, data } => {
                let now = SystemClock.now();
                let secret = tokens(&data)?
                    .add(&name, role, now)
                    .map_err(Refusal::failure)?;
                writeln!(out, "{secret}")?;
                remark(&format!(
                    "the token `{name}` may {}; it is not shown again",
                    match role {
                        Role::Read => "read",
                        Role::Operate => "read and operate",
                        Role::Admin => "do everything",
                    }
                ));
            }
            What::List { data, json } => {
                let all = tokens(&data)?.list().map_err(Refusal::failure)?;
                if all.is_empty() {
                    remark("there are no tokens");
                }
                let mut grid = Grid::new([
                    Column::left("NAME"),
                    Column::left("ROLE"),
                    Column::left("MADE"),
                ]);
                for token in &all {
                    let made = token.made_at.map(format_instant).unwrap_or_default();
                    if json {
                        let (name, role) = (&token.name, token.role);
                        let json =
                            serde_json::json!({ "name": name, "role": role, "made_at": made });
                        json_line(&json, &mut out)?;
                    } else {
                        let role = token.role.as_str().to_owned();
                        grid.row([token.name.clone().into(), role.into(), made.into()]);
                    }
                }
                if !json && !all.is_empty() {
                    grid.write(screen.out, screen.width, &mut out)?;
                }
            }
            What::Rm { name, data } => {
                tokens(&data)?.remove(&name).map_err(Refusal::failure)?;
                remark(&format!("the token `{name}` is worth nothing any more"));
            }
        }
        Ok(Exit::Ok)
    }
}
