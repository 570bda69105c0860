//! The thread between the host's events and standard output: it takes events one by one,
//! has them rendered, and flushes whenever none waits.

use std::io::{self, BufWriter, Write};

use crate::event::{Stamped, Subscription};

/// A way to write the stream of events.
pub(in crate::cli) trait Renderer: Send {
    /// Writes one event, or keeps it in mind for a later line.
    ///
    /// # Errors
    /// Those of the writer.
    fn render(&mut self, stamped: &Stamped, to: &mut dyn Write) -> io::Result<()>;

    /// Writes what is still kept in mind; no event follows.
    ///
    /// # Errors
    /// Those of the writer.
    fn finish(&mut self, to: &mut dyn Write) -> io::Result<()>;
}

/// Writes all events of a subscription until the host closes it. `on_lost` hears how many
/// events were lost because they could not be written in time.
///
/// # Errors
/// Those of the writer; a reader that has gone away is one ([`io::ErrorKind::BrokenPipe`]).
pub(in crate::cli) fn print_all(
    mut events: Subscription,
    renderer: &mut dyn Renderer,
    to: impl Write,
    mut on_lost: impl FnMut(u64),
) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(64 * 1024, to);
    while let Some(stamped) = events.blocking_recv() {
        renderer.render(&stamped, &mut to)?;
        while let Some(stamped) = events.try_recv() {
            renderer.render(&stamped, &mut to)?;
        }
        to.flush()?;
        match events.take_lost() {
            0 => {}
            lost => on_lost(lost),
        }
    }
    renderer.finish(&mut to)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::json::JsonLines;
    use crate::clock::parse_instant;
    use crate::event::{Event, Events};

    #[test]
    fn everything_sent_before_the_end_is_written() {
        let events = Events::new();
        let subscription = events.subscribe();
        let at = parse_instant("2026-01-01T00:00:00Z").unwrap();
        for name in ["a.wasm", "b.wasm"] {
            events.emit(at, Event::PluginRemoved { name: name.into() });
        }
        events.close();
        let mut bytes = Vec::new();
        print_all(subscription, &mut JsonLines, &mut bytes, |_| {
            panic!("nothing is lost")
        })
        .unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"event\":\"plugin.removed\",\"at\":\"2026-01-01T00:00:00Z\",\"plugin\":\"a.wasm\"}\n\
             {\"event\":\"plugin.removed\",\"at\":\"2026-01-01T00:00:00Z\",\"plugin\":\"b.wasm\"}\n"
        );
    }

    #[test]
    fn what_is_lost_is_told() {
        let events = Events::new();
        let subscription = events.subscribe();
        let at = parse_instant("2026-01-01T00:00:00Z").unwrap();
        for _ in 0..(1 << 17) + 3 {
            events.emit(at, Event::PluginRemoved { name: "a".into() });
        }
        events.close();
        let mut lost = 0;
        print_all(subscription, &mut JsonLines, io::sink(), |count| {
            lost += count
        })
        .unwrap();
        assert_eq!(lost, 3);
    }

    #[test]
    fn a_reader_that_has_gone_ends_the_printing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let events = Events::new();
        let subscription = events.subscribe();
        let at = parse_instant("2026-01-01T00:00:00Z").unwrap();
        events.emit(at, Event::PluginRemoved { name: "a".into() });
        let error = print_all(subscription, &mut JsonLines, Gone, |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
