//! Domain values from short texts.

use policy_service::domain::{
    Grant, GrantId, GroupName, Permission, PermissionPattern, Principal, Question, Resource, Role, RoleName,
    Subject,
};

pub fn user(number: u32) -> Principal {
    Principal::user(&format!("usr_{number:026}")).unwrap()
}

pub fn client(number: u32) -> Principal {
    Principal::client(&format!("cli_{number:026}")).unwrap()
}

pub fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

pub fn group_subject(name: &str) -> Subject {
    group(name).into()
}

pub fn role_name(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

pub fn role(name: &str, permissions: &[&str]) -> Role {
    let permissions = permissions.iter().map(|text| PermissionPattern::parse(text).unwrap()).collect();
    Role { name: role_name(name), permissions, built_in: false }
}

pub fn grant_id(number: u32) -> GrantId {
    GrantId::parse(&format!("grt_{number:026}")).unwrap()
}

/// `within` is `kind/id`.
pub fn grant(number: u32, subject: impl Into<Subject>, role: &str, within: Option<&str>) -> Grant {
    Grant {
        id: grant_id(number),
        subject: subject.into(),
        role: role_name(role),
        within: within.map(resource),
    }
}

pub fn resource(text: &str) -> Resource {
    let (kind, id) = text.split_once('/').unwrap();
    Resource::parse(kind, id).unwrap()
}

pub fn question(principal: Principal, permission: &str, resource: Option<&str>) -> Question {
    Question {
        principal,
        permission: Permission::parse(permission).unwrap(),
        resource: resource.map(self::resource),
    }
}
