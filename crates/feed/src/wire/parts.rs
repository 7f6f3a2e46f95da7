//! Positions and entries: what the messages are made of.

use std::sync::Arc;

use proto::feed::v1;

use super::{Invalid, MAX_KEY};
use crate::{Change, Entry, Position, Tag, Target, Wall, What};

pub(super) fn position(position: Position) -> v1::Position {
    v1::Position { number: position.number, tag: position.tag.0 }
}

pub(super) fn parse_position(
    position: Option<v1::Position>,
    field: &'static str,
) -> Result<Position, Invalid> {
    let v1::Position { number, tag } = position.ok_or(Invalid::Missing(field))?;
    let parsed = Position { number, tag: Tag(tag) };
    if number == 0 && parsed != Position::START { Err(Invalid::Field(field)) } else { Ok(parsed) }
}

pub(super) fn entries(entries: &[Entry]) -> Vec<v1::Entry> {
    entries.iter().map(entry).collect()
}

pub(super) fn parse_entries(entries: Vec<v1::Entry>) -> Result<Arc<[Entry]>, Invalid> {
    entries.into_iter().map(parse_entry).collect()
}

pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_KEY
}

fn entry(entry: &Entry) -> v1::Entry {
    let Change { target, min, except, until } = &entry.change;
    v1::Entry {
        position: Some(position(entry.position)),
        what: what(target.what).into(),
        key: target.key.to_string(),
        min: *min,
        except: except.as_deref().map(str::to_owned),
        until_unix_ms: until.unix_millis(),
    }
}

fn parse_entry(entry: v1::Entry) -> Result<Entry, Invalid> {
    let what = parse_what(entry.what()).ok_or(Invalid::Field("what"))?;
    let v1::Entry { position, key, min, except, until_unix_ms, what: _ } = entry;
    if key.len() > MAX_KEY || key.is_empty() != (what == What::All) {
        return Err(Invalid::Field("key"));
    }
    if except.as_ref().is_some_and(|id| !is_id(id)) {
        return Err(Invalid::Field("except"));
    }
    let position = parse_position(position, "position")?;
    // Nothing is before the first entry, so nothing can be at it.
    if position == Position::START {
        return Err(Invalid::Field("position"));
    }
    let until = Wall::from_unix_millis(until_unix_ms);
    let change = Change { target: Target::new(what, key), min, except: except.map(Arc::from), until };
    Ok(Entry { position, change })
}

pub(super) fn what(what: What) -> v1::What {
    match what {
        What::Token => v1::What::Token,
        What::Family => v1::What::Family,
        What::Session => v1::What::Session,
        What::Subject => v1::What::Subject,
        What::Client => v1::What::Client,
        What::Key => v1::What::Key,
        What::Principal => v1::What::Principal,
        What::All => v1::What::All,
    }
}

/// None for what this version does not know: a guard that skipped an entry would accept what it ends.
pub(super) fn parse_what(wire: v1::What) -> Option<What> {
    What::EVERY.into_iter().find(|known| what(*known) == wire)
}
