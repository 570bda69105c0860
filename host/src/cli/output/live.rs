//! A live view: what is due next, what runs and how far it has come, and the last lines of what
//! `serve` tells, on a screen that is drawn again several times a second.

mod state;

use std::io::{self, Write};
use std::time::Duration;

use state::State;

use super::Terminal;
use super::human::{Human, HumanOptions};
use crate::clock::{Clock, SystemClock};
use crate::event::Subscription;

/// How long the screen stands still at most: times that pass are on it.
const REDRAWN: Duration = Duration::from_millis(200);

/// How long it stands still at least.
const STILL: Duration = Duration::from_millis(50);

/// How many events are heard at most before it is drawn again.
const LOT: usize = 10_000;

/// Another screen, without a cursor, on which lines that are too long end at its edge; the one
/// before it comes back as it was.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the top; and from here to the end of the line, and of the screen.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Leaves the other screen, however the view ends.
struct OtherScreen<W: Write>(W);

impl<W: Write> OtherScreen<W> {
    fn enter(mut to: W) -> io::Result<Self> {
        to.write_all(ENTER.as_bytes())?;
        Ok(OtherScreen(to))
    }
}

impl<W: Write> Drop for OtherScreen<W> {
    fn drop(&mut self) {
        // Nothing is left to do where nobody sees it.
        let _ = self.0.write_all(LEAVE.as_bytes());
        let _ = self.0.flush();
    }
}

/// Draws all events of a subscription until the host closes it, and then the last lines below
/// each other as `serve` prints them.
///
/// # Errors
/// Those of the writer.
pub(in crate::cli) fn draw_all(
    mut events: Subscription,
    options: HumanOptions,
    terminal: &Terminal,
    mut to: impl Write,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let paint = options.paint;
    let viewer = options.viewer.clone();
    let mut state = State::new(Human::new(options), viewer, paint);
    let mut screen = OtherScreen::enter(io::BufWriter::new(&mut to))?;
    loop {
        let received =
            runtime.block_on(async { tokio::time::timeout(REDRAWN, events.recv()).await });
        match received {
            Ok(Some(stamped)) => {
                state.hear(&stamped)?;
                // All that waits, and no more than that: others may come faster than is drawn.
                for _ in 0..LOT {
                    match events.try_recv() {
                        Some(stamped) => state.hear(&stamped)?,
                        None => break,
                    }
                }
                state.lost(events.take_lost());
            }
            Ok(None) => break,
            Err(_) => {} // time passes
        }
        let (columns, lines) = terminal.size();
        let drawn = state.draw(SystemClock.now(), columns, lines);
        let to = &mut screen.0;
        to.write_all(HOME.as_bytes())?;
        for (index, line) in drawn.iter().enumerate() {
            let end = if index + 1 < drawn.len() { "\r\n" } else { "" };
            write!(to, "{line}{REST_OF_LINE}{end}")?;
        }
        to.write_all(REST_OF_SCREEN.as_bytes())?;
        to.flush()?;
        // A busy host is drawn as often as a quiet one, and not more often.
        std::thread::sleep(STILL);
    }
    state.finish()?;
    drop(screen);
    for line in state.last_lines() {
        writeln!(to, "{line}")?;
    }
    to.flush()
}
