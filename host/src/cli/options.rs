//! Flags that several verbs share, and the parsers of their values.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::output::Screen;
use super::{Refusal, remark};
use crate::app::{CachePlace, DataPlace};
use crate::job::{Diagnostic, Limits};
use crate::policy::{Choice, Flags, Policy, PolicyFile};
use crate::units::{
    UnitError, format_duration_exact, format_size, parse_count, parse_duration, parse_size,
};

/// Where plugins are.
#[derive(Debug, Args)]
pub(super) struct Plugins {
    /// The directory of the .wasm files that jobs name
    #[arg(
        long,
        value_name = "DIR",
        env = "QUARTERJACK_PLUGINS",
        hide_env_values = true,
        default_value = "plugins"
    )]
    pub(super) plugins: PathBuf,
}

/// Where the host keeps what must outlive it.
#[derive(Debug, Args)]
pub(super) struct Data {
    /// Where history, schedules and states are kept [default: the user's state directory]
    #[arg(
        long,
        value_name = "DIR",
        env = "QUARTERJACK_DATA",
        hide_env_values = true
    )]
    data: Option<PathBuf>,
    /// Keep nothing: forget all when the host ends
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,
}

impl Data {
    /// Where it is kept.
    pub(super) fn place(self) -> DataPlace {
        match self.data {
            _ if self.ephemeral => DataPlace::Nowhere,
            Some(path) => DataPlace::At(path),
            None => DataPlace::Usual,
        }
    }
}

/// Where compiled code is kept.
#[derive(Debug, Args)]
pub(super) struct Cache {
    /// Where compiled code is kept, or `none` [default: the user's cache directory]
    #[arg(
        long,
        value_name = "DIR",
        env = "QUARTERJACK_CACHE",
        hide_env_values = true
    )]
    cache: Option<PathBuf>,
}

impl Cache {
    /// Where compiled code is kept.
    pub(super) fn place(self) -> CachePlace {
        match self.cache {
            None => CachePlace::Usual,
            Some(path) if path.as_os_str() == "none" => CachePlace::Nowhere,
            Some(path) => CachePlace::At(path),
        }
    }
}

/// The operator's configuration file.
#[derive(Debug, Clone, Args)]
pub(super) struct Config {
    /// The operator's configuration, or `none` [default: quarterjack.toml, if there is one]
    #[arg(
        long,
        value_name = "FILE",
        env = "QUARTERJACK_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
}

impl Config {
    /// The file, whose ceiling is under these flags.
    pub(super) fn file(self, flags: Flags) -> PolicyFile {
        let choice = match self.config {
            None => Choice::Usual,
            Some(path) if path.as_os_str() == "none" => Choice::Nowhere,
            Some(path) => Choice::At(path),
        };
        PolicyFile::new(choice, flags)
    }

    /// What the file says, where no flag says anything. What is wrong with it is drawn on standard
    /// error.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn policy(&self, screen: Screen) -> Result<Arc<Policy>, Refusal> {
        let mut file = self.clone().file(Flags::default());
        Ok(Arc::new(read_config(&mut file, screen)?))
    }
}

/// Reads the configuration file. What is wrong with it is drawn on standard error.
///
/// # Errors
/// It cannot be used: nothing may be done without the ceiling that it sets.
pub(super) fn read_config(file: &mut PolicyFile, screen: Screen) -> Result<Policy, Refusal> {
    file.read().map_err(|problems| {
        draw(&problems, screen);
        Refusal::usage("the configuration file cannot be used, as shown above")
    })
}

/// The operator's ceiling: what no job may exceed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ceiling, which no job may exceed")]
pub(super) struct Ceiling {
    /// Wall-clock time of a run, such as 10m
    #[arg(long, value_name = "TIME", value_parser = timeout_limit)]
    max_timeout: Option<Duration>,
    /// Fuel of a run, such as 10G
    #[arg(long, value_name = "FUEL", value_parser = fuel)]
    max_fuel: Option<u64>,
    /// Memory of a run, such as 256MiB
    #[arg(long, value_name = "SIZE", value_parser = memory_limit)]
    max_memory: Option<u64>,
    /// Output kept of a run, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = output_limit)]
    max_output: Option<u64>,
}

impl Ceiling {
    /// The limits that are set.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            timeout: self.max_timeout,
            fuel: self.max_fuel,
            memory: self.max_memory,
            output: self.max_output,
        }
    }
}

/// Reads a duration such as `90s`; none of zero length.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(in_words)?;
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// Reads a duration such as `10s`, or `0s`.
pub(super) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    parse_duration(text).map_err(in_words)
}

/// Reads the time limit of a run, such as `90s`.
pub(super) fn timeout_limit(text: &str) -> Result<Duration, String> {
    let most = Limits::MAXIMUM.timeout;
    let timeout = duration(text)?;
    if timeout > most {
        return Err(above(&format_duration_exact(most)));
    }
    Ok(timeout)
}

/// Reads the memory limit of a run, such as `64MiB`.
pub(super) fn memory_limit(text: &str) -> Result<u64, String> {
    size(text, Limits::MAXIMUM.memory)
}

/// Reads the rate of a run's log in bytes a second, such as `64KiB`.
pub(super) fn log_rate_limit(text: &str) -> Result<u64, String> {
    size(text, Limits::MAXIMUM.log_rate)
}

/// Reads how many things of the host a run may hold.
pub(super) fn handles_limit(text: &str) -> Result<u32, String> {
    let count = text.parse::<u32>().map_err(|error| error.to_string())?;
    match count {
        0..8 => Err("at least 8".to_owned()),
        count if count > Limits::MAXIMUM.handles => {
            Err(above(&Limits::MAXIMUM.handles.to_string()))
        }
        count => Ok(count),
    }
}

/// Reads an amount of memory of any size, such as `16GiB`.
pub(super) fn total_memory(text: &str) -> Result<u64, String> {
    size(text, u64::MAX)
}

/// Reads the output limit of a run, such as `1MiB`.
pub(super) fn output_limit(text: &str) -> Result<u64, String> {
    size(text, Limits::MAXIMUM.output)
}

fn size(text: &str, most: u64) -> Result<u64, String> {
    let size = parse_size(text).map_err(in_words)?;
    if size > most {
        return Err(above(&format_size(most)));
    }
    Ok(size)
}

fn above(most: &str) -> String {
    format!("above the maximum of every host: at most {most}")
}

/// Reads an amount of fuel such as `10M`, or `unlimited`.
pub(super) fn fuel(text: &str) -> Result<u64, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(Limits::UNLIMITED_FUEL);
    }
    parse_count(text).map_err(in_words)
}

fn in_words(error: UnitError) -> String {
    // A question already says what would be right.
    if error.label.is_empty() || error.message.ends_with('?') {
        error.message
    } else {
        format!("{}: {}", error.message, error.label)
    }
}

/// Waits for one future on this thread. Guests have threads of their own; the command line
/// needs none.
///
/// # Errors
/// The operating system refuses what the runtime needs.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal::failure(format_args!("cannot start: {error}")))?;
    let result = runtime.block_on(future);
    // A thread that waits for a slow disk or pipe must not keep the process.
    runtime.shutdown_background();
    Ok(result)
}

/// Draws problems on standard error, each under the line of the file that it is in.
pub(super) fn draw(diagnostics: &[Diagnostic], screen: Screen) {
    for diagnostic in diagnostics {
        remark(diagnostic.render(screen.err.on).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("90").unwrap_err().ends_with("did you mean `90s`?"));
        assert!(duration("0s").is_err());
        assert_eq!(duration_or_zero("0s"), Ok(Duration::ZERO));
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
        assert_eq!(memory_limit("64MiB"), Ok(64 << 20));
        assert_eq!(fuel("10M"), Ok(10_000_000));
        assert_eq!(fuel("unlimited"), Ok(Limits::UNLIMITED_FUEL));
        assert!(memory_limit("big").is_err());
        assert!(memory_limit("5GiB").unwrap_err().contains("at most 4 GiB"));
        assert!(timeout_limit("99d").unwrap_err().contains("at most"));
    }

    #[test]
    fn flags_are_part_of_the_ceiling() {
        let ceiling = Ceiling {
            max_timeout: Some(Duration::from_secs(5)),
            max_fuel: None,
            max_memory: None,
            max_output: None,
        };
        let flags = ceiling.flags();
        assert_eq!(flags.timeout, Some(Duration::from_secs(5)));
        assert_eq!(flags.memory, None);
    }
}
