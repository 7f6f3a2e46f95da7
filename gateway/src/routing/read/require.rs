//! `require`: what the one who was believed must hold.

use toml::de::DeValue;

use super::super::document::{Complaints, Table};
use super::super::{Pattern, Requirement, ResourceId, ResourceTemplate};

pub(super) fn require(
    table: &mut Table<'_>,
    pattern: Option<&Pattern>,
    open: bool,
    complaints: &mut Complaints<'_>,
) -> Requirement {
    let Some(value) = table.get("require") else { return Requirement::Nothing };
    let offset = value.span().start;
    let DeValue::Table(members) = value.get_ref() else {
        table.complain(
            complaints,
            offset,
            "require must be { role = … } or { permission = …, resource = … }",
        );
        return Requirement::Nothing;
    };
    if open {
        table.complain(complaints, offset, "require needs somebody to ask about, but accept is []");
    }
    let name = pattern.map_or_else(|| "require".to_owned(), |pattern| format!("route {pattern}: require"));
    let mut members = Table::new(name, members, offset);
    let role = members.string("role", complaints);
    let permission = members.string("permission", complaints);
    let resource = members.string("resource", complaints);
    let requirement = match (role, permission) {
        (Some((role, at)), None) => {
            if !is_role(role) {
                members.complain(
                    complaints,
                    at,
                    format_args!("{role:?} is not a role: [a-z0-9][a-z0-9._-]{{0,62}}"),
                );
            }
            if let Some((_, at)) = resource {
                members.complain(complaints, at, "resource goes with a permission, not with a role");
            }
            Requirement::Role(role.to_owned())
        }
        (None, Some((permission, at))) => {
            if !is_permission(permission) {
                members.complain(
                    complaints,
                    at,
                    format_args!("{permission:?} is not a permission: write kind:action, without a wildcard"),
                );
            }
            let resource = resource.and_then(|(text, at)| match template(text, pattern) {
                Ok(template) => template,
                Err(wrong) => {
                    members.complain(complaints, at, format_args!("resource {text:?} {wrong}"));
                    None
                }
            });
            Requirement::Permission { permission: permission.to_owned(), resource }
        }
        _ => {
            members.complain(complaints, offset, "name either a role or a permission");
            Requirement::Nothing
        }
    };
    members.finish(complaints);
    requirement
}

/// `kind/id` or `kind/{parameter}`. None without a pattern to look the parameter up in.
fn template(text: &str, pattern: Option<&Pattern>) -> Result<Option<ResourceTemplate>, String> {
    let (kind, id) = text.split_once('/').ok_or("must be kind/id or kind/{parameter}")?;
    let mut letters = kind.bytes();
    let good = letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
        && kind.len() <= 63;
    if !good {
        return Err(format!("has the kind {kind:?}, which is not [a-z][a-z0-9_-]{{0,62}}"));
    }
    let id = match id.strip_prefix('{').and_then(|id| id.strip_suffix('}')) {
        Some(name) => {
            let Some(pattern) = pattern else { return Ok(None) };
            let segment = pattern
                .parameter(name)
                .ok_or_else(|| format!("names {{{name}}}, which the path does not have"))?;
            ResourceId::Segment(segment)
        }
        None if id.is_empty() || id.len() > 256 || id.contains(['{', '}']) => {
            return Err("must end in one id of at most 256 bytes or one {parameter}".to_owned());
        }
        None => ResourceId::Fixed(id.to_owned()),
    };
    Ok(Some(ResourceTemplate { kind: kind.to_owned(), id }))
}

fn is_role(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(good)
        && name.bytes().all(|byte| good(byte) || b"._-".contains(&byte))
        && name.len() <= 63
}

fn is_permission(permission: &str) -> bool {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    permission.split_once(':').is_some_and(|(kind, action)| part(kind) && part(action))
}
