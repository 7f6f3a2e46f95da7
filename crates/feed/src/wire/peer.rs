//! Between replicas of one service.

use proto::feed::v1;

use super::{
    Invalid,
    parts::{parse_position, position},
};
use crate::{MemberId, Position};

pub fn confirm(member: MemberId, at: Position) -> v1::ConfirmRequest {
    v1::ConfirmRequest { member: member.to_string(), position: Some(position(at)) }
}

pub fn parse_confirm(request: v1::ConfirmRequest) -> Result<(MemberId, Position), Invalid> {
    let v1::ConfirmRequest { member, position } = request;
    let member = member.parse().map_err(|_| Invalid::Field("member"))?;
    Ok((member, parse_position(position, "position")?))
}
