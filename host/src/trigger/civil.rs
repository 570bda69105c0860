//! The calendar that all triggers share: its names, its numbers, and words for them.

/// The seconds of a day of a wall clock.
pub(super) const DAY: i64 = 86_400;

/// From January on.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A month's name; 1 is January.
pub(super) fn month(number: u32) -> Option<&'static str> {
    MONTHS.get(number.checked_sub(1)? as usize).copied()
}

/// The numbers of the set bits, from the lowest.
pub(super) fn bits<S: Into<u64>>(set: S) -> impl Iterator<Item = u32> {
    let mut set = set.into();
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let bit = set.trailing_zeros();
            set &= set - 1;
            bit
        })
    })
}

/// `1st`, `22nd`, `13th`.
pub(super) fn numbered(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

/// `a`, `a and b`, `a, b and c`; `last` is the word before the last item.
pub(super) fn listed(items: &[String], last: &str) -> String {
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, others)) => format!("{} {last} {end}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_are_said_as_people_say_them() {
        let said: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 111, 101]
            .into_iter()
            .map(numbered)
            .collect();
        assert_eq!(
            said,
            [
                "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "30th",
                "111th", "101st"
            ]
        );
        let items = |count: usize| said.get(..count).unwrap_or_default().to_vec();
        assert_eq!(listed(&items(0), "and"), "");
        assert_eq!(listed(&items(1), "and"), "1st");
        assert_eq!(listed(&items(2), "or"), "1st or 2nd");
        assert_eq!(listed(&items(3), "and"), "1st, 2nd and 3rd");
        assert_eq!(month(1), Some("January"));
        assert_eq!((month(0), month(13)), (None, None));
        assert_eq!(bits(0b1001_0000_u32).collect::<Vec<_>>(), [4, 7]);
    }
}
