//! Passwords that are long and still guessed first.
//!
//! Lists of common passwords hold almost nothing of 15 characters and more, so that looking a long password up in one
//! would refuse nothing. What people do when length is asked for is to lengthen: `passwordpassword`, `dragonmonkey1234`,
//! `qwertyuiop123456`, their own name and a year. So the list (over 20,000 entries, `data/README.md`) is used as a
//! dictionary of pieces: a password that is no more than two of them with sequences and filling between is refused, and
//! so is one that is short once the username and the service's names are taken away. zxcvbn's estimate is one more signal.
//!
//! Phrases that many people know, the example in every article about passphrases first, are a list of their own. Both lists
//! are asked without the spaces and dashes too: with which separators a phrase is written is the first thing to be tried.

use std::{collections::HashSet, sync::LazyLock};

use super::username::fold;

mod patterns;

/// Why a long password is weak. The text is for the person who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    #[error(
        "the password is on the list of common passwords, or made of little more than one or two that are"
    )]
    Common,
    #[error("the password is a phrase that many people know: use words that nobody has put together before")]
    Phrase,
    #[error("the password repeats a few characters: a repetition is as easy to guess as what it repeats")]
    Repetition,
    #[error("the password is a sequence of neighbouring keys, letters or digits")]
    Sequence,
    #[error("the password is little more than the username or the name of this service")]
    Context,
    #[error("the password is easy to guess: add words that do not belong together")]
    Guessable,
}

/// What a password must still have once context words are taken away, in characters.
const MIN_WITHOUT_CONTEXT: usize = 12;
/// Context words shorter than this would be found in anything.
const MIN_CONTEXT: usize = 4;
/// zxcvbn reads so many characters; it could not speak for a longer password.
const ZXCVBN_READS: usize = 100;

static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("../../data/common-passwords.txt").lines().collect());

/// Without their separators.
static PHRASES: LazyLock<Vec<String>> =
    LazyLock::new(|| include_str!("../../data/known-phrases.txt").lines().map(patterns::compact).collect());

/// The number of entries, for the metrics of the world and the test of the promise.
pub fn entries() -> usize {
    COMMON.len()
}

fn is_common(text: &str) -> bool {
    COMMON.contains(text)
}

/// What is weak about a password in NFC, if anything. Case does not matter, nor do the usual digits for letters.
pub fn weakness(password: &str, context: &[&str]) -> Option<Weakness> {
    let folded = fold(password);
    let context = context_words(context);
    let unit = patterns::repeated_unit(&folded);
    // A repeated unit that is long enough is judged as if it stood alone: it is no weaker for standing twice.
    let (judged, repeated) = match unit {
        Some(unit) if unit.chars().count() < MIN_WITHOUT_CONTEXT => return Some(short_unit(unit, &context)),
        Some(unit) => (unit, true),
        None => (folded.as_str(), false),
    };
    let plain = patterns::without_leet(judged);
    for text in [judged, plain.as_str()] {
        if let Some(weakness) = pieces(text, &context).or_else(|| compacted(text)) {
            return Some(weakness);
        }
    }
    guessable(if repeated { judged } else { password }, &context).then_some(Weakness::Guessable)
}

/// Which of the things that a short repeated unit can be it is: the reason is given as exactly as it is known.
fn short_unit(unit: &str, context: &[String]) -> Weakness {
    let plain = patterns::without_leet(unit);
    if context.iter().any(|word| word == unit) {
        Weakness::Context
    } else if is_common(unit) || is_common(&plain) {
        Weakness::Common
    } else {
        Weakness::Repetition
    }
}

fn pieces(text: &str, context: &[String]) -> Option<Weakness> {
    if is_common(text) {
        return Some(Weakness::Common);
    }
    let mut rest = text.to_owned();
    for word in context {
        rest = rest.replace(word.as_str(), "");
    }
    if rest.len() != text.len() && rest.chars().count() < MIN_WITHOUT_CONTEXT {
        return Some(Weakness::Context);
    }
    match patterns::cover(text, &|piece| is_common(piece), &|piece| context.iter().any(|word| word == piece))?
    {
        patterns::Cover { words: 0, context: false } => Some(Weakness::Sequence),
        patterns::Cover { words: 0, context: true } => Some(Weakness::Context),
        _ => Some(Weakness::Common),
    }
}

/// What a text is once it is written without separators.
fn compacted(text: &str) -> Option<Weakness> {
    let compact = patterns::compact(text);
    let is_known = |phrase: &String| {
        compact.contains(phrase.as_str())
            && compact.replace(phrase.as_str(), "").chars().count() < MIN_WITHOUT_CONTEXT
    };
    if PHRASES.iter().any(is_known) {
        return Some(Weakness::Phrase);
    }
    // Up to a separator after each character. Where more of a text is punctuation, what is left without it says little.
    let is_separated = compact.len() < text.len() && compact.chars().count() * 2 + 1 >= text.chars().count();
    match patterns::cover(&compact, &|piece| is_common(piece), &|_| false).filter(|_| is_separated)? {
        patterns::Cover { words: 0, .. } => Some(Weakness::Sequence),
        _ => Some(Weakness::Common),
    }
}

fn guessable(password: &str, context: &[String]) -> bool {
    let inputs: Vec<&str> = context.iter().map(String::as_str).collect();
    password.chars().nth(ZXCVBN_READS).is_none()
        && zxcvbn::zxcvbn(password, &inputs).score() < zxcvbn::Score::Three
}

/// Folded, with the parts of compound names (`alice.smith@example.org`), the longest first.
fn context_words(context: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for text in context {
        let folded = fold(text);
        words.extend(folded.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
        words.push(folded);
    }
    words.retain(|word| word.chars().count() >= MIN_CONTEXT);
    words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words
}

#[cfg(test)]
mod tests;
