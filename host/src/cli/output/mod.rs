//! What all verbs share when they write: whether to colour, how wide the screen is, in which
//! zone the viewer lives, and words for outcomes and times.
//!
//! [`human`] and [`json`] render the stream of events; [`summary`] renders one finished run.

pub(super) mod grid;
pub(super) mod human;
pub(super) mod json;
pub(super) mod live;
pub(super) mod printer;
pub(super) mod summary;
mod table;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::clock::Timestamp;
use crate::record::Status;
use crate::run::Outcome;
use crate::units::format_duration;

/// Columns of a line where nothing says how wide the screen is.
const DEFAULT_WIDTH: usize = 160;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The two streams that a verb writes to, as the person in front of them sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// How to colour standard output.
    pub(super) out: Paint,
    /// How to colour standard error.
    pub(super) err: Paint,
    /// How many columns a line of standard output may have before it is cut.
    pub(super) width: usize,
}

impl Screen {
    /// The screen of this process.
    pub(super) fn new(color: ColorChoice) -> Screen {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let paint = |auto: anstream::ColorChoice| Paint {
            on: match color {
                ColorChoice::Auto => auto != anstream::ColorChoice::Never,
                ColorChoice::Always => true,
                ColorChoice::Never => false,
            },
        };
        Screen {
            out: paint(anstream::AutoStream::choice(&stdout)),
            err: paint(anstream::AutoStream::choice(&stderr)),
            width: width_of(&stdout).unwrap_or(DEFAULT_WIDTH),
        }
    }
}

/// Columns of the terminal behind standard output; nothing where there is none.
fn width_of(stdout: &io::Stdout) -> Option<usize> {
    if !stdout.is_terminal() {
        return None;
    }
    Some(size_of(stdout)?.0.max(40))
}

/// Columns and lines of a terminal.
fn size_of(stdout: &io::Stdout) -> Option<(usize, usize)> {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(stdout)
        && size.ws_col > 0
    {
        return Some((usize::from(size.ws_col), usize::from(size.ws_row)));
    }
    None
}

/// The terminal behind standard output.
#[derive(Debug)]
pub(super) struct Terminal(io::Stdout);

impl Terminal {
    /// The terminal, if there is one that can be drawn on.
    pub(super) fn here() -> Option<Terminal> {
        let stdout = io::stdout();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (stdout.is_terminal() && !is_dumb).then_some(Terminal(stdout))
    }

    /// How many columns and lines it has now.
    pub(super) fn size(&self) -> (usize, usize) {
        size_of(&self.0).unwrap_or((DEFAULT_WIDTH, 24))
    }
}

/// Colours text, or leaves it alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    /// Whether to colour.
    pub(super) on: bool,
}

/// What a colour means here; colours mark outcomes and little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It did not happen, or deserves a look.
    Warn,
    /// Less important than what is around it.
    Dim,
    /// More important than what is around it.
    Strong,
}

impl Paint {
    /// The text in a tone.
    pub(super) fn paint<T: fmt::Display>(self, tone: Tone, text: T) -> Painted<T> {
        let style = match tone {
            _ if !self.on => Style::new(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        Painted { style, text }
    }

    /// `error: ` as it starts a message.
    pub(super) fn error(self) -> Painted<&'static str> {
        self.paint(Tone::Bad, "error:")
    }
}

/// Text in a style.
#[derive(Debug)]
pub(super) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Formatting options (a width, say) are for the text, not for the escapes around it.
        write!(to, "{}", self.style.render())?;
        self.text.fmt(to)?;
        write!(to, "{}", self.style.render_reset())
    }
}

/// An outcome in a word or two, and its tone.
pub(super) fn outcome_word(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Succeeded => ("ok", Tone::Good),
        Outcome::Failed => ("FAILED", Tone::Bad),
        Outcome::Trapped => ("TRAPPED", Tone::Bad),
        Outcome::TimedOut => ("TIMED OUT", Tone::Bad),
        Outcome::OutOfFuel => ("OUT OF FUEL", Tone::Bad),
        Outcome::OutOfMemory => ("OUT OF MEMORY", Tone::Bad),
        Outcome::Cancelled => ("cancelled", Tone::Warn),
        Outcome::Lost => ("LOST", Tone::Bad),
    }
}

/// How far a run has come in a word or two, and its tone.
pub(super) fn status_word(status: &Status) -> (&'static str, Tone) {
    match status {
        Status::Recorded => ("waiting", Tone::Dim),
        Status::Running => ("running", Tone::Strong),
        Status::Finished(outcome) => outcome_word(*outcome),
        Status::Skipped(_) => ("skipped", Tone::Warn),
    }
}

/// The time of day where the viewer is.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    zone: TimeZone,
}

impl Viewer {
    /// The viewer lives where the machine does.
    pub(super) fn here() -> Viewer {
        Viewer {
            zone: TimeZone::system(),
        }
    }

    /// The viewer lives in a given zone.
    #[cfg(test)]
    pub(super) fn in_zone(zone: TimeZone) -> Viewer {
        Viewer { zone }
    }

    /// The name of the viewer's zone; an offset such as `+02:00` where it has no name.
    pub(super) fn zone_name(&self, at: Timestamp) -> String {
        if self.is_utc() {
            return "UTC".to_owned();
        }
        match self.zone.iana_name() {
            Some(name) => name.to_owned(),
            None => self.zoned(at).strftime("%:z").to_string(),
        }
    }

    /// The IANA name of the viewer's zone, if it has one.
    pub(super) fn name(&self) -> Option<&str> {
        self.zone.iana_name()
    }

    /// Whether the viewer's clock shows UTC.
    pub(super) fn is_utc(&self) -> bool {
        match self.zone.iana_name() {
            Some(name) => is_utc_name(name),
            // A zone without a name is a fixed offset, or unknown and taken for UTC.
            None => {
                self.zone.to_fixed_offset().is_ok_and(|at| at.is_zero()) || self.zone.is_unknown()
            }
        }
    }

    /// Whether a zone of that name shows the viewer's own time.
    pub(super) fn is_at(&self, zone: &str) -> bool {
        self.zone.iana_name() == Some(zone) || (self.is_utc() && is_utc_name(zone))
    }

    /// The time of day to the millisecond, `13:04:48.001`.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%H:%M:%S%.3f").to_string()
    }

    /// The date, `Mon 23 Nov 2026`.
    pub(super) fn date(&self, at: Timestamp) -> String {
        self.zoned(at).strftime("%a %d %b %Y").to_string()
    }

    /// The day and the time of day, as briefly as they are clear at `now`: `today 13:05:00`,
    /// `Sat 21 Nov 13:05:00`, `21 Nov 2025 13:05:00`; with milliseconds where there are some.
    pub(super) fn when(&self, now: Timestamp, at: Timestamp) -> String {
        let (now, at) = (self.zoned(now), self.zoned(at));
        let day = if at.date() == now.date() {
            "today".to_owned()
        } else if now.date().yesterday().is_ok_and(|day| day == at.date()) {
            "yesterday".to_owned()
        } else if at.year() == now.year() {
            at.strftime("%a %d %b").to_string()
        } else {
            at.strftime("%d %b %Y").to_string()
        };
        let time = if at.millisecond() == 0 {
            at.strftime("%H:%M:%S")
        } else {
            at.strftime("%H:%M:%S%.3f")
        };
        format!("{day} {time}")
    }

    fn zoned(&self, at: Timestamp) -> jiff::Zoned {
        // What lies outside jiff's years (-9999 to 9999) no clock of ours ever shows.
        jiff::Timestamp::new(
            at.timestamp(),
            i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0),
        )
        .unwrap_or_default()
        .to_zoned(self.zone.clone())
    }
}

fn is_utc_name(name: &str) -> bool {
    matches!(
        name,
        "UTC" | "Etc/UTC" | "Etc/UCT" | "UCT" | "Zulu" | "Etc/Zulu" | "Etc/Universal"
    )
}

/// How far an instant lies ahead: `in 12 s`, `now`.
pub(super) fn ahead(now: Timestamp, then: Timestamp) -> String {
    match (then - now).to_std() {
        Ok(left) if left >= Duration::from_millis(50) => {
            // Tenths of a second only where they matter.
            let shown = if left >= Duration::from_secs(10) {
                let seconds = left.as_millis().saturating_add(500) / 1000;
                Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
            } else {
                left
            };
            format!("in {}", format_duration(shown).replace(".0 s", " s"))
        }
        _ => "now".to_owned(),
    }
}

/// How far an instant lies back: `12 s ago`, `just now`; `in 12 s` for one that is to come.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    if then > now {
        return ahead(now, then);
    }
    match ahead(then, now).strip_prefix("in ") {
        Some(length) => format!("{length} ago"),
        None => "just now".to_owned(),
    }
}

/// `1 job`, `2 jobs`.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        format!("1 {word}")
    } else {
        format!("{count} {word}s")
    }
}

/// Text of a guest on one line of a terminal: control characters are written out, so that no
/// job can move the cursor or recolour the screen.
pub(super) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => safe.push(' '),
            // Direction overrides can make a line read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            _ if character.is_control() => safe.extend(character.escape_default()),
            _ => safe.push(character),
        }
    }
    safe
}

/// How many columns of a terminal a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// At most `width` columns of a text, the last one `…` where it was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut room = width.saturating_sub(1);
    for letter in text.chars() {
        match room.checked_sub(letter.width().unwrap_or(0)) {
            Some(left) => room = left,
            None => break,
        }
        short.push(letter);
    }
    if width > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_instant;

    #[test]
    fn a_guest_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\tc\r"), "a\\u{1b}[2Jb c\\r");
        assert_eq!(harmless("Grüße 你好"), "Grüße 你好");
        assert_eq!(harmless("\u{202e}evil"), "\u{fffd}evil");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 0), "");
        assert_eq!(cut("你好你好", 8), "你好你好");
        assert_eq!(cut("你好你好", 7), "你好你…");
        assert_eq!(cut("你好你好", 6), "你好…");
        assert_eq!(cut("e\u{301}e\u{301}", 2), "e\u{301}e\u{301}");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("ÄÖÜ", 2), "Ä…");
    }

    #[test]
    fn how_far_ahead() {
        let now = parse_instant("2026-01-01T00:00:00Z").unwrap();
        let ahead = |millis| ahead(now, now + chrono::TimeDelta::milliseconds(millis));
        assert_eq!(ahead(-5), "now");
        assert_eq!(ahead(40), "now");
        assert_eq!(ahead(400), "in 400 ms");
        assert_eq!(ahead(2_000), "in 2 s");
        assert_eq!(ahead(2_400), "in 2.4 s");
        assert_eq!(ahead(12_345), "in 12 s");
        assert_eq!(ahead((11 * 3600 + 2 * 60) * 1000), "in 11 h 2 min");
        assert_eq!(ahead(59_999), "in 1 min");
    }

    #[test]
    fn how_far_back_and_on_which_day() {
        let now = parse_instant("2026-11-23T00:30:00Z").unwrap();
        let berlin = Viewer::in_zone(TimeZone::get("Europe/Berlin").unwrap());
        let told = |text: &str| {
            let at = parse_instant(text).unwrap();
            format!("{}, {}", berlin.when(now, at), ago(now, at))
        };
        insta::assert_snapshot!(told("2026-11-23T00:29:57.25Z"), @"today 01:29:57.250, 2.8 s ago");
        insta::assert_snapshot!(told("2026-11-22T23:00:00Z"), @"today 00:00:00, 1 h 30 min ago");
        insta::assert_snapshot!(told("2026-11-22T22:59:59.0005Z"), @"yesterday 23:59:59, 1 h 30 min ago");
        insta::assert_snapshot!(told("2026-11-20T23:00:00Z"), @"Sat 21 Nov 00:00:00, 2 d 1 h ago");
        insta::assert_snapshot!(told("2025-12-31T22:59:59Z"), @"31 Dec 2025 23:59:59, 326 d 1 h ago");
        insta::assert_snapshot!(told("2026-11-23T00:31:00Z"), @"today 01:31:00, in 1 min");
    }

    #[test]
    fn the_viewer_reads_his_own_clock() {
        let at = parse_instant("2026-06-01T22:30:00.0015Z").unwrap();
        let berlin = Viewer::in_zone(TimeZone::get("Europe/Berlin").unwrap());
        assert_eq!(berlin.clock(at), "00:30:00.001");
        assert_eq!(berlin.date(at), "Tue 02 Jun 2026");
        assert_eq!(berlin.zone_name(at), "Europe/Berlin");
        assert!(!berlin.is_utc() && berlin.is_at("Europe/Berlin") && !berlin.is_at("UTC"));
        let utc = Viewer::in_zone(TimeZone::UTC);
        assert!(utc.is_utc() && utc.is_at("Etc/UTC"));
        let fixed = Viewer::in_zone(TimeZone::fixed(jiff::tz::offset(3)));
        assert_eq!(fixed.zone_name(at), "+03:00");
        assert!(!fixed.is_utc());
    }

    #[test]
    fn colours_are_escapes_around_the_padded_text() {
        let on = Paint { on: true }.paint(Tone::Good, format!("{:4}", "ok"));
        assert_eq!(on.to_string(), "\u{1b}[32mok  \u{1b}[0m");
        assert_eq!(Paint { on: false }.paint(Tone::Bad, "x").to_string(), "x");
    }
}
