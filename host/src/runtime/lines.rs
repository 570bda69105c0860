//! What a guest prints and logs, as lines on their way to where they are kept: each with its time
//! and its stream, without the secrets of the run, within the limits of the job.
//!
//! A guest that prints nothing costs nothing here.

use std::sync::Arc;

use super::guest::Rate;
use crate::clock::{Clock, Timestamp};
use crate::log::{LogBatch, LogLine, LogSink, LogStream};
use crate::run::{Attempt, LogEntry};
use crate::secret::{Redactor, Stream};

/// The longest line that is kept whole, in bytes.
pub(super) const LONGEST_LINE: usize = 64 << 10;

/// How many bytes a line counts as at least: to keep it takes more than its text.
const LEAST: u64 = 16;

/// The lines of one attempt.
pub(super) struct Lines {
    source: Source,
    /// What has come so far; nothing as long as nothing has.
    begun: Option<Box<Begun>>,
}

/// Whose lines they are, and where they go.
struct Source {
    sink: Arc<dyn LogSink>,
    clock: Arc<dyn Clock>,
    attempt: Attempt,
    redactor: Option<Arc<Redactor>>,
}

/// The lines of an attempt that has printed something.
struct Begun {
    stdout: Half,
    stderr: Half,
    budget: Budget,
    /// Lines that are whole, and have not been sent.
    ready: Vec<LogLine>,
    /// The number of the last line.
    number: u64,
    /// Whether anything has been sent.
    sent: bool,
}

/// What has come of a stream's last line so far.
#[derive(Default)]
struct Half {
    /// One for each stream: a secret that comes in two pieces, with something of another stream
    /// between them, would be whole in its line.
    redactor: Option<Stream>,
    text: Vec<u8>,
    /// When it was begun, if it was.
    at: Option<Timestamp>,
    cut: u64,
}

/// How much may come, and how much did not.
struct Budget {
    left: u64,
    rate: Option<Rate>,
    dropped: u64,
}

impl Budget {
    /// How many of some bytes are kept.
    fn take(&mut self, wanted: usize) -> usize {
        let allowed = match &mut self.rate {
            Some(rate) => rate.take(wanted),
            None => wanted,
        };
        let taken = allowed.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= taken as u64;
        self.dropped += (wanted - taken) as u64;
        taken
    }

    /// Notes that a line is whole, so many of whose bytes have been taken.
    fn end_line(&mut self, taken: u64) {
        self.left = self.left.saturating_sub(LEAST.saturating_sub(taken));
    }
}

impl Lines {
    /// Those of an attempt that has printed nothing.
    pub(super) fn new(
        sink: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
        attempt: &Attempt,
        redactor: Option<&Arc<Redactor>>,
    ) -> Lines {
        Lines {
            source: Source {
                sink,
                clock,
                attempt: attempt.clone(),
                redactor: redactor.cloned(),
            },
            begun: None,
        }
    }

    /// Takes what a guest writes to a stream.
    pub(super) fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (begun, source) = self.begun();
        match &mut begun.half(stream).redactor {
            Some(redactor) => {
                let clean = redactor.push(bytes);
                begun.take(source, stream, &clean);
            }
            None => begun.take(source, stream, bytes),
        }
        begun.send(source, false);
    }

    /// Takes an entry that has a level and fields, and no secrets any more.
    pub(super) fn entry(&mut self, entry: &LogEntry) {
        let fields = entry.fields.iter().map(|it| it.0.len() + it.1.len());
        let size = entry.message.len() + fields.sum::<usize>() + 1;
        let (begun, source) = self.begun();
        begun.whole(source, &entry.message, size, |line| {
            line.level = Some(entry.level);
            line.fields.clone_from(&entry.fields);
        });
    }

    /// Takes a line of the host's own making, without secrets.
    pub(super) fn note(&mut self, text: &str) {
        let (begun, source) = self.begun();
        begun.whole(source, text, text.len() + 1, |_| {});
    }

    fn begun(&mut self) -> (&mut Begun, &Source) {
        let source = &self.source;
        let begun = self
            .begun
            .get_or_insert_with(|| Box::new(Begun::of(source)));
        (begun, source)
    }
}

impl Begun {
    fn of(source: &Source) -> Begun {
        let limits = &source.attempt.run.job.limits;
        let half = || Half {
            redactor: source.redactor.clone().map(Stream::new),
            ..Half::default()
        };
        Begun {
            stdout: half(),
            stderr: half(),
            budget: Budget {
                left: limits.output,
                rate: Some(Rate::new(limits.log_rate)),
                dropped: 0,
            },
            ready: Vec::new(),
            number: 0,
            sent: false,
        }
    }

    fn half(&mut self, stream: LogStream) -> &mut Half {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr | LogStream::Log => &mut self.stderr,
        }
    }

    /// Takes what comes as a whole or not at all, as long as it is not longer than any line.
    fn whole(&mut self, source: &Source, text: &str, size: usize, set: impl FnOnce(&mut LogLine)) {
        let taken = self.budget.take(size);
        if taken < size {
            self.budget.dropped += taken as u64;
            return;
        }
        self.budget.end_line(size as u64);
        let end = text.floor_char_boundary(LONGEST_LINE);
        let cut = (text.len() - end) as u64;
        self.budget.dropped += cut;
        self.number += 1;
        let mut line = LogLine {
            number: self.number,
            at: source.clock.now(),
            stream: LogStream::Log,
            level: None,
            text: text.get(..end).unwrap_or(text).to_owned(),
            cut,
            fields: Vec::new(),
        };
        set(&mut line);
        self.ready.push(line);
        self.send(source, false);
    }

    fn take(&mut self, source: &Source, stream: LogStream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let now = source.clock.now();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let kept = self.budget.take(piece.len());
            let (body, ends) = match piece.split_last() {
                Some((b'\n', body)) => (body, true),
                _ => (piece, false),
            };
            let half = match stream {
                LogStream::Stdout => &mut self.stdout,
                LogStream::Stderr | LogStream::Log => &mut self.stderr,
            };
            let room = LONGEST_LINE - half.text.len();
            let fits = body.get(..kept.min(room)).unwrap_or(body);
            // Of what may come, that which the line has no room for.
            self.budget.dropped += (kept.min(body.len()) - fits.len()) as u64;
            half.cut += (body.len() - fits.len()) as u64;
            if kept > 0 || half.at.is_some() {
                half.at.get_or_insert(now);
                half.text.extend_from_slice(fits);
                if ends {
                    self.end_line(stream);
                }
            } else {
                // Nothing is left of this one: it is no line, and all of it is counted.
                half.cut = 0;
            }
        }
    }

    /// Ends the line of a stream, if one is begun.
    fn end_line(&mut self, stream: LogStream) {
        let half = self.half(stream);
        let Some(at) = half.at.take() else { return };
        let mut text = std::mem::take(&mut half.text);
        let cut = std::mem::take(&mut half.cut);
        self.budget.end_line(text.len() as u64 + 1);
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        self.number += 1;
        self.ready.push(LogLine {
            number: self.number,
            at,
            stream,
            level: None,
            text: String::from_utf8(text)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            cut,
            fields: Vec::new(),
        });
    }

    fn send(&mut self, source: &Source, ended: bool) {
        let is_news = !self.ready.is_empty() || self.budget.dropped > 0 || self.sent;
        if self.ready.is_empty() && !(ended && is_news) {
            return;
        }
        self.sent = true;
        let run = &source.attempt.run;
        source.sink.append(LogBatch {
            run: run.id,
            job: run.job.id.clone(),
            attempt: source.attempt.number,
            lines: std::mem::take(&mut self.ready),
            dropped: std::mem::take(&mut self.budget.dropped),
            ended,
        });
    }
}

impl Drop for Lines {
    /// Nothing more will come: what is held back goes too.
    fn drop(&mut self) {
        let Some(mut begun) = self.begun.take() else {
            return;
        };
        let source = &self.source;
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if let Some(redactor) = begun.half(stream).redactor.take() {
                let rest = redactor.finish();
                begun.take(source, stream, &rest);
            }
            begun.end_line(stream);
        }
        begun.send(source, true);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::clock::SystemClock;
    use crate::job::Job;
    use crate::run::{Cause, Level, Run, RunId};
    use crate::secret::Secret;

    #[derive(Default)]
    struct Seen(Mutex<Vec<LogBatch>>);

    impl LogSink for Seen {
        fn append(&self, batch: LogBatch) {
            self.0.lock().push(batch);
        }
    }

    fn lines(seen: &Arc<Seen>, limit: u64, secret: Option<&[u8]>) -> Lines {
        let mut job = Job::by_hand("a".into(), "a.wasm");
        job.limits.output = limit;
        let at = Timestamp::UNIX_EPOCH;
        let attempt = Attempt {
            run: Arc::new(Run {
                id: RunId::from_u128(1),
                job: Arc::new(job),
                cause: Cause::Manual,
                scheduled_at: at,
                max_attempts: 1,
                last_success: None,
            }),
            number: 1,
            started_at: at,
            run_started_at: at,
        };
        let redactor = secret.and_then(|secret| {
            let secret = Secret::new(secret.to_vec()).unwrap();
            Redactor::new([(&"key".into(), &secret)]).unwrap()
        });
        let redactor = redactor.map(Arc::new);
        Lines::new(
            seen.clone(),
            Arc::new(SystemClock),
            &attempt,
            redactor.as_ref(),
        )
    }

    /// The lines, as `number stream text`, with what was cut off; and how much was dropped in all.
    fn told(seen: &Seen) -> (Vec<String>, u64) {
        let batches = seen.0.lock();
        let of = batches.iter().flat_map(|batch| &batch.lines).map(|line| {
            let cut = match line.cut {
                0 => String::new(),
                cut => format!(" -{cut}"),
            };
            format!("{} {} {line}{cut}", line.number, line.stream.as_str())
        });
        (of.collect(), batches.iter().map(|it| it.dropped).sum())
    }

    #[test]
    fn streams_are_lines_of_their_own() {
        let seen = Arc::new(Seen::default());
        let mut of = lines(&seen, 1_000, None);
        of.push(LogStream::Stdout, b"on");
        of.push(LogStream::Stderr, b"oops\r\n\nhalf");
        assert_eq!(seen.0.lock().len(), 1);
        of.push(LogStream::Stdout, b"e\n");
        of.entry(&LogEntry {
            level: Level::Warn,
            message: "odd".to_owned(),
            fields: vec![("a".to_owned(), "b c".to_owned())],
            after: std::time::Duration::ZERO,
        });
        of.note("denied: all");
        of.push(LogStream::Stdout, b"bad \xff byte");
        drop(of);
        assert!(seen.0.lock().last().unwrap().ended);
        assert_eq!(
            told(&seen),
            (
                [
                    "1 stderr oops",
                    "2 stderr ",
                    "3 stdout one",
                    "4 log warn: odd a=\"b c\"",
                    "5 log denied: all",
                    "6 stdout bad \u{fffd} byte",
                    "7 stderr half",
                ]
                .map(str::to_owned)
                .to_vec(),
                0
            )
        );
    }

    #[test]
    fn whoever_prints_nothing_tells_nothing() {
        let seen = Arc::new(Seen::default());
        drop(lines(&seen, 1_000, None));
        let mut of = lines(&seen, 1_000, None);
        of.push(LogStream::Stdout, b"");
        drop(of);
        assert!(seen.0.lock().is_empty());
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let seen = Arc::new(Seen::default());
        let mut of = lines(&seen, 20, None);
        of.push(LogStream::Stderr, b"one\nthirteen\nmore\n\n");
        of.note("too much");
        drop(of);
        let (lines, dropped) = told(&seen);
        assert_eq!(lines, ["1 stderr one", "2 stderr thir -4"]);
        assert_eq!(dropped, 4 + 1 + 5 + 1 + 9);
    }

    #[test]
    fn many_short_lines_are_no_way_around_the_limit() {
        let seen = Arc::new(Seen::default());
        let mut of = lines(&seen, 1 << 10, None);
        for _ in 0..100 {
            of.push(LogStream::Stdout, &[b'\n'; 100]);
            of.note("");
        }
        drop(of);
        let (lines, dropped) = told(&seen);
        assert_eq!(lines.len(), 64);
        assert_eq!(dropped, 100 * 101 - 64);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let seen = Arc::new(Seen::default());
        let mut of = lines(&seen, 1 << 20, None);
        for _ in 0..10 {
            of.push(LogStream::Stderr, &[b'x'; 10_000]);
        }
        assert!(seen.0.lock().is_empty());
        of.push(LogStream::Stderr, b"\nnext\n");
        drop(of);
        let (lines, dropped) = told(&seen);
        assert_eq!(dropped, 100_000 - (64 << 10));
        assert!(lines[0].ends_with(&format!("x -{dropped}")));
        assert_eq!(lines[1], "2 stderr next");
    }

    #[test]
    fn no_secret_is_put_together_from_its_pieces() {
        let seen = Arc::new(Seen::default());
        let mut of = lines(&seen, 1_000, Some(b"s3cret"));
        of.push(LogStream::Stdout, b"is s3c");
        of.push(LogStream::Stderr, b"between\n");
        of.push(LogStream::Stdout, b"ret\nand s3c");
        drop(of);
        let (lines, _) = told(&seen);
        assert!(
            lines.iter().all(|line| !line.contains("s3cret")),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[1].starts_with("2 stdout is ["), "{lines:?}");
    }
}
