//! How predictable texts are built: by repeating, by running along a keyboard, by putting known pieces together.

/// Runs that fingers and memories follow, in both directions.
const RUNS: [&str; 12] = [
    "abcdefghijklmnopqrstuvwxyz",
    "12345678901234567890",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qwertzuiopü",
    "azertyuiop",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "1q2w3e4r5t6y7u8i9o0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "!@#$%^&*()_+",
    "йцукенгшщзхъ",
];
/// A shorter run is in too many words, and none of the above is longer.
const MIN_RUN: usize = 4;
const MAX_RUN: usize = 40;
/// The longest entry of the list that is tried as a piece, and the shortest.
const MAX_PIECE: usize = 20;
const MIN_PIECE: usize = 3;
/// Digits and punctuation that may stand between and around pieces without making the whole less predictable.
const MAX_FILLING: usize = 6;
/// Words of the list that may be put together before the whole counts as chosen by its owner.
const MAX_WORDS: usize = 2;
/// The longest context word: a username.
const MAX_CONTEXT: usize = 64;
/// Longer texts are not made of so few pieces, and the search stays short.
const MAX_COVERED: usize = 128;

/// The shortest unit whose repetition (the last time perhaps cut short) is the whole text; `None` if there is none
/// that stands at least twice.
pub(super) fn repeated_unit(text: &str) -> Option<&str> {
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    // The failure function of Knuth, Morris and Pratt: linear, whatever was sent.
    let mut border = vec![0_usize; characters.len()];
    let at = |i: usize| characters.get(i).map(|(_, c)| *c);
    let mut matched = 0;
    for i in 1..characters.len() {
        while matched > 0 && at(i) != at(matched) {
            matched = border.get(matched - 1).copied().unwrap_or(0);
        }
        if at(i) == at(matched) {
            matched += 1;
        }
        if let Some(slot) = border.get_mut(i) {
            *slot = matched;
        }
    }
    let period = characters.len() - border.last()?;
    let end = characters.get(period)?.0;
    (period * 2 <= characters.len()).then(|| text.get(..end)).flatten()
}

/// The usual digits and signs for letters taken back.
pub(super) fn without_leet(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '@' | '4' => 'a',
            '3' => 'e',
            '1' | '!' => 'i',
            '0' => 'o',
            '$' | '5' => 's',
            '7' => 't',
            other => other,
        })
        .collect()
}

/// Letters and digits alone.
pub(super) fn compact(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// What a text is made of when it can be put together from few known pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cover {
    pub words: usize,
    pub context: bool,
}

/// The cover with the fewest words, where one with at most [`MAX_WORDS`] and [`MAX_FILLING`] exists.
pub(super) fn cover(
    text: &str,
    is_word: &dyn Fn(&str) -> bool,
    is_context: &dyn Fn(&str) -> bool,
) -> Option<Cover> {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let length = ends.len() - 1;
    if length > MAX_COVERED {
        return None;
    }
    // best[i][f]: the fewest words that the first i characters take with f characters of filling.
    let mut best: Vec<[Option<Cover>; MAX_FILLING + 1]> = vec![[None; MAX_FILLING + 1]; length + 1];
    *best.first_mut()?.first_mut()? = Some(Cover { words: 0, context: false });
    for from in 0..length {
        let here = *best.get(from)?;
        if here.iter().all(Option::is_none) {
            continue;
        }
        for to in from + 1..=length.min(from + MAX_CONTEXT) {
            let piece = text.get(*ends.get(from)?..*ends.get(to)?)?;
            let characters = to - from;
            let filling = usize::from(characters == 1 && !piece.chars().all(char::is_alphabetic));
            let context = is_context(piece);
            let run = (MIN_RUN..=MAX_RUN).contains(&characters) && is_run(piece);
            let word = (MIN_PIECE..=MAX_PIECE).contains(&characters) && is_word(piece);
            if filling == 0 && !context && !run && !word {
                continue;
            }
            let more = usize::from(filling == 0 && !context && !run);
            for (filled, cover) in here.iter().enumerate() {
                let Some(cover) = cover else { continue };
                let next = Cover { words: cover.words + more, context: cover.context || context };
                let Some(slot) = best.get_mut(to).and_then(|row| row.get_mut(filled + filling)) else {
                    continue;
                };
                if next.words <= MAX_WORDS && slot.is_none_or(|known| next.words < known.words) {
                    *slot = Some(next);
                }
            }
        }
    }
    best.last()?.iter().flatten().min_by_key(|cover| cover.words).copied()
}

fn is_run(piece: &str) -> bool {
    let backwards: String = piece.chars().rev().collect();
    RUNS.iter().any(|run| run.contains(piece) || run.contains(&backwards)) || is_one_character(piece)
}

fn is_one_character(piece: &str) -> bool {
    let mut characters = piece.chars();
    let first = characters.next();
    characters.all(|c| Some(c) == first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_units() {
        for (text, unit) in [
            ("aaaaaa", Some("a")),
            ("abcabcabc", Some("abc")),
            ("abcabcab", Some("abc")),
            ("ééé", Some("é")),
            ("abcab", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(repeated_unit(text), unit, "{text}");
        }
    }

    #[test]
    fn covers() {
        let word = |piece: &str| ["password", "dragon", "monkey"].contains(&piece);
        let name = |piece: &str| piece == "alice";
        let cover = |text| cover(text, &word, &name).map(|cover| (cover.words, cover.context));
        assert_eq!(cover("passworddragon"), Some((2, false)));
        assert_eq!(cover("password-dragon-77"), Some((2, false)));
        assert_eq!(cover("passworddragonmonkey"), None, "three words are somebody's own choice");
        assert_eq!(cover("qwertyuiop12345asdf"), Some((0, false)));
        assert_eq!(cover("alice87654321"), Some((0, true)));
        assert_eq!(cover("password83920174"), None, "eight digits that follow no run");
        assert_eq!(cover("passwordx"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC{0,200}") {
            let _ = cover(&text, &|piece| piece.len() % 3 == 0, &|_| false);
            if let Some(unit) = repeated_unit(&text) {
                prop_assert!(text.starts_with(unit) && unit.len() < text.len());
                prop_assert!(unit.repeat(text.len() / unit.len() + 1).starts_with(&text));
            }
        }
    }
}
