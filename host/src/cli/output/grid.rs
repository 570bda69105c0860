//! A table that is never wider than the screen.

use std::io::{self, Write};

use crate::cli::output::{Paint, Tone, columns, cut};

/// What stands between columns.
const GAP: &str = "  ";

/// What stands before the first one.
const MARGIN: &str = "  ";

/// What stands before a cell that has a line of its own.
const BELOW: &str = "      ";

/// How much of the last column is worth more than a column that may be missing.
const LAST: usize = 24;

/// How narrow a column that has a limit becomes where room is scarce.
const SQUEEZED: usize = 10;

/// A column: its title, and how it is laid out.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    title: &'static str,
    right: bool,
    most: usize,
    spare: bool,
    below: bool,
}

impl Column {
    /// A column of words.
    pub(in crate::cli) fn left(title: &'static str) -> Column {
        Column {
            title,
            right: false,
            most: usize::MAX,
            spare: false,
            below: false,
        }
    }

    /// A column of numbers.
    pub(in crate::cli) fn right(title: &'static str) -> Column {
        Column {
            right: true,
            ..Column::left(title)
        }
    }

    /// The same, never wider than so many columns of the screen, and narrower where room is
    /// scarce.
    pub(in crate::cli) fn at_most(self, most: usize) -> Column {
        Column { most, ..self }
    }

    /// The same, left out where the last column would have little room otherwise.
    pub(in crate::cli) fn spare(self) -> Column {
        Column {
            spare: true,
            ..self
        }
    }

    /// The same, as the last one: where it has too little room, what is in it has a line of its
    /// own below the rest of its row.
    pub(in crate::cli) fn or_below(self) -> Column {
        Column {
            below: true,
            ..self
        }
    }
}

/// A piece of a row.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// Text in a tone.
    pub(in crate::cli) fn toned(tone: Tone, text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            tone: Some(tone),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell {
            text: text.into(),
            tone: None,
        }
    }
}

/// A table. A column in which nothing stands is left out.
#[derive(Debug)]
pub(in crate::cli) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// A table of these columns, without rows. What comes after the last one has no limit but the
    /// screen.
    pub(in crate::cli) fn new(columns: impl IntoIterator<Item = Column>) -> Grid {
        Grid {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell for each column, in their order. What is on it must be harmless.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes it, with its titles, in at most `width` columns of the screen.
    ///
    /// # Errors
    /// Those of the writer.
    pub(in crate::cli) fn write(
        &self,
        paint: Paint,
        width: usize,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let (shown, below) = self.laid_out(width);
        let titles = self.columns.iter().map(|column| Cell::from(column.title));
        let titles: Vec<Cell> = titles.collect();
        line(&titles, &shown, width, to, |_, text| {
            paint.paint(Tone::Dim, text).to_string()
        })?;
        for row in &self.rows {
            line(row, &shown, width, to, |cell, text| match cell.tone {
                Some(tone) => paint.paint(tone, text).to_string(),
                None => text.to_owned(),
            })?;
            let cell = below.and_then(|place| row.get(place));
            if let Some(cell) = cell.filter(|cell| !cell.text.is_empty()) {
                let margin = cut(BELOW, width);
                let text = cut(&cell.text, width.saturating_sub(columns(BELOW)));
                writeln!(to, "{margin}{}", paint.paint(Tone::Dim, text))?;
            }
        }
        Ok(())
    }

    /// The columns that are shown side by side, and the place of the one that is shown below.
    fn laid_out(&self, room: usize) -> (Vec<Shown>, Option<usize>) {
        let cells = |place: usize| self.rows.iter().filter_map(move |row| row.get(place));
        let mut all: Vec<Shown> = (self.columns.iter().enumerate())
            .filter(|(place, _)| cells(*place).any(|cell| !cell.text.is_empty()))
            .map(|(place, column)| {
                let widest = cells(place).map(|cell| columns(&cell.text)).max();
                let width = widest.unwrap_or(0).max(columns(column.title));
                Shown {
                    place,
                    column: *column,
                    width: width.min(column.most),
                }
            })
            .collect();
        let last = all.last().map_or(0, |last| last.width.min(LAST));
        if needs(&all, last) <= room {
            return (all, None);
        }
        for shown in &mut all {
            if shown.column.most < usize::MAX {
                shown.width = shown.width.min(SQUEEZED);
            }
        }
        let mut fewer = all.clone();
        if squeeze(&mut fewer, last, room) {
            return (fewer, None);
        }
        match all.pop() {
            Some(below) if below.column.below => {
                let last = all.last().map_or(0, |last| last.width);
                squeeze(&mut all, last, room);
                (all, Some(below.place))
            }
            _ => (fewer, None),
        }
    }
}

/// A column as it is shown.
#[derive(Debug, Clone)]
struct Shown {
    place: usize,
    column: Column,
    width: usize,
}

/// How wide a screen must be for so much of the last column to be seen.
fn needs(shown: &[Shown], last: usize) -> usize {
    let before = shown.split_last().map_or(0, |(_, before)| {
        let widths = before.iter().map(|shown| shown.width + columns(GAP));
        widths.sum()
    });
    columns(MARGIN) + before + last
}

/// Leaves out columns until it fits; false if it never does.
fn squeeze(shown: &mut Vec<Shown>, last: usize, room: usize) -> bool {
    while needs(shown, last) > room {
        match shown.iter().rposition(|shown| shown.column.spare) {
            Some(place) => drop(shown.remove(place)),
            None => return false,
        }
    }
    true
}

/// Writes a line of at most `room` columns.
fn line(
    cells: &[Cell],
    shown: &[Shown],
    mut room: usize,
    to: &mut dyn Write,
    paint: impl Fn(&Cell, &str) -> String,
) -> io::Result<()> {
    let mut text = String::new();
    // Held back until something follows: no line ends in spaces.
    let mut gap = MARGIN.to_owned();
    for Shown {
        place,
        column,
        width,
    } in shown
    {
        let Some(cell) = cells.get(*place) else {
            continue;
        };
        let short = cut(&cell.text, *width);
        let fill = " ".repeat(width.saturating_sub(columns(&short)));
        if column.right {
            gap.push_str(&fill);
        }
        if !short.is_empty() {
            let left = room.saturating_sub(columns(&gap));
            if left == 0 {
                break;
            }
            let fitting = cut(&short, left);
            room = left - columns(&fitting);
            text.push_str(&gap);
            text.push_str(&paint(cell, &fitting));
            gap.clear();
        }
        if !column.right {
            gap.push_str(&fill);
        }
        gap.push_str(GAP);
    }
    writeln!(to, "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(rows: &[[&str; 4]]) -> Grid {
        let mut grid = Grid::new([
            Column::left("JOB").at_most(8),
            Column::right("TOOK"),
            Column::right("FUEL").spare(),
            Column::left("WHY").or_below(),
        ]);
        for row in rows {
            grid.row(row.map(Cell::from));
        }
        grid
    }

    fn written(grid: &Grid, on: bool, width: usize) -> String {
        let mut bytes = Vec::new();
        grid.write(Paint { on }, width, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let rows = grid(&[
            ["report", "41 ms", "2.1 M", ""],
            ["你好你好你好", "-", "", "skipped, and this is why it was"],
        ]);
        insta::assert_snapshot!(written(&rows, false, 80), @"
        JOB        TOOK   FUEL  WHY
        report    41 ms  2.1 M
        你好你…       -         skipped, and this is why it was
        ");
        insta::assert_snapshot!(written(&rows, false, 30), @"
        JOB        TOOK   FUEL
        report    41 ms  2.1 M
        你好你…       -
            skipped, and this is wh…
        ");
        insta::assert_snapshot!(written(&rows, false, 48), @"
        JOB        TOOK  WHY
        report    41 ms
        你好你…       -  skipped, and this is why it …
        ");
    }

    #[test]
    fn empty_columns_are_left_out_and_colours_are_around_the_text() {
        let mut rows = grid(&[]);
        assert_eq!(written(&rows, false, 80), "\n");
        rows.row([
            "a".into(),
            "".into(),
            "1".into(),
            Cell::toned(Tone::Bad, "no"),
        ]);
        assert_eq!(
            written(&rows, false, 80),
            "  JOB  FUEL  WHY\n  a       1  no\n"
        );
        assert!(written(&rows, true, 80).ends_with("  \u{1b}[1m\u{1b}[31mno\u{1b}[0m\n"));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen_or_ends_in_spaces(
            rows in proptest::collection::vec(["[a-z你 é]{0,30}", "[0-9]{0,9}", "[0-9]{0,5}", "[a-z好…]{0,50}"], 0..6),
            width in 1_usize..90,
        ) {
            let rows: Vec<[&str; 4]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[2], &*row[3]]).collect();
            for line in written(&grid(&rows), false, width).lines() {
                prop_assert!(columns(line) <= width, "{line:?} in {width}");
            }
        }
    }
}
