//! Between replicas of one service.

use proto::feed::v1;

use super::{
    Invalid,
    parts::{entries, parse_entries, parse_position, position},
};
use crate::{MemberId, Position, Tail};

pub fn confirm(member: MemberId, at: Position, tail: &Tail) -> v1::ConfirmRequest {
    v1::ConfirmRequest {
        member: member.to_string(),
        position: Some(position(at)),
        after: Some(position(tail.after)),
        entries: entries(&tail.entries),
    }
}

pub fn parse_confirm(request: v1::ConfirmRequest) -> Result<(MemberId, Position, Tail), Invalid> {
    let v1::ConfirmRequest { member, position, after, entries } = request;
    let member = member.parse().map_err(|_| Invalid::Field("member"))?;
    let position = parse_position(position, "position")?;
    let tail = Tail { after: parse_position(after, "after")?, entries: parse_entries(entries)? };
    Ok((member, position, tail))
}
