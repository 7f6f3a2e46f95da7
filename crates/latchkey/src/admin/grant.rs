//! `latchkey grant`.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::output::{Column, Output};
use super::user::segment;

const GRANTS: &str = "/v1/admin/grants";
const COLUMNS: [Column; 5] =
    [("id", "id"), ("subject", "subject"), ("name", "name"), ("role", "role"), ("within", "within")];
/// Each name is a request.
const MOST_NAMES: usize = 100;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give a role to a user, or to a client or group.
    Add {
        #[command(flatten)]
        holder: Holder,
        role: String,
        /// Only within this resource, such as document/42.
        #[arg(long, value_name = "KIND/ID")]
        within: Option<Resource>,
    },
    /// All grants, or those of one subject or role.
    List {
        /// Name or id.
        subject: Option<String>,
        #[command(flatten)]
        kind: Kind,
        #[arg(long)]
        role: Option<String>,
    },
    Show {
        id: String,
    },
    /// Take a role back; by the grant's id, or as it was given.
    Remove {
        #[command(flatten)]
        holder: Holder,
        /// Left out when the first argument is a grant's id.
        role: Option<String>,
        #[arg(long, value_name = "KIND/ID")]
        within: Option<Resource>,
    },
}

/// Who holds a grant, is a member of a group, or is checked: a user, unless said otherwise.
#[derive(Debug, Clone, clap::Args)]
pub struct Holder {
    /// Name or id of the user, client or group.
    pub subject: String,
    #[command(flatten)]
    pub kind: Kind,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Kind {
    /// The subject is a client.
    #[arg(long, conflicts_with = "group")]
    pub client: bool,
    /// The subject is a group.
    #[arg(long)]
    pub group: bool,
}

/// `kind/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    kind: String,
    id: String,
}

impl std::str::FromStr for Resource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((kind, id)) if !kind.is_empty() && !id.is_empty() => {
                Ok(Self { kind: kind.to_owned(), id: id.to_owned() })
            }
            _ => Err("write kind/id, such as document/42".to_owned()),
        }
    }
}

impl Resource {
    pub fn json(&self) -> Value {
        json!({ "kind": self.kind, "id": self.id })
    }
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match (self.client, self.group) {
            (true, _) => "client",
            (false, true) => "group",
            (false, false) => "user",
        }
    }
}

impl Holder {
    /// The subject as the API names it.
    pub fn json(&self) -> Value {
        json!({ "kind": self.kind.name(), "id": self.subject })
    }
}

pub async fn run(command: Command, api: &mut Api, output: &Output) -> Result<()> {
    match command {
        Command::Add { holder, role, within } => {
            let mut body = json!({ "subject": holder.json(), "role": role });
            if let (Some(within), Some(members)) = (&within, body.as_object_mut()) {
                members.insert("within".to_owned(), within.json());
            }
            let grant = api.post(GRANTS, body).await?;
            let everywhere = within
                .map_or("everywhere".to_owned(), |within| format!("within {}/{}", within.kind, within.id));
            output.answer(&grant, || format!("{} holds {role} {everywhere}.", holder.subject))
        }
        Command::List { subject, kind, role } => {
            let mut grants = list(api, subject.as_deref(), &kind, role.as_deref()).await?;
            if !output.is_json() {
                name_subjects(api, &mut grants).await;
            }
            output.table(&grants, &COLUMNS)
        }
        Command::Show { id } => {
            let grants = api.list(GRANTS, "grants", &[]).await?;
            let mut found: Vec<Value> = grants.into_iter().filter(|grant| id_of(grant) == id).collect();
            if !output.is_json() {
                name_subjects(api, &mut found).await;
            }
            match found.first() {
                Some(grant) => output.record(grant, &COLUMNS),
                None => bail!("there is no grant {id}"),
            }
        }
        Command::Remove { holder, role, within } => {
            let id = match role {
                None if holder.subject.starts_with("grt_") => holder.subject.clone(),
                None => bail!("which role? Name it after the subject, or give the grant's id alone"),
                Some(role) => {
                    let grants = list(api, Some(&holder.subject), &holder.kind, Some(&role)).await?;
                    let within = within.as_ref().map_or(Value::Null, Resource::json);
                    let wanted = |grant: &&Value| grant.get("within").unwrap_or(&Value::Null) == &within;
                    match grants.iter().find(wanted) {
                        Some(grant) => id_of(grant).to_owned(),
                        None => bail!("{} does not hold {role} there by a grant of its own", holder.subject),
                    }
                }
            };
            api.delete(&format!("{GRANTS}/{}", segment(&id))).await?;
            output.answer(&json!({ "id": id }), || format!("{id} is taken back."))
        }
    }
}

async fn list(api: &mut Api, subject: Option<&str>, kind: &Kind, role: Option<&str>) -> Result<Vec<Value>> {
    let mut query = Vec::new();
    if let Some(id) = subject {
        query.extend([("subject_kind", kind.name()), ("subject_id", id)]);
    }
    if let Some(role) = role {
        query.push(("role", role));
    }
    api.list(GRANTS, "grants", &query).await
}

/// For people: the names that go with the ids. A group is its name; who is gone, or may not be looked up, has none.
async fn name_subjects(api: &mut Api, grants: &mut [Value]) {
    let mut names: BTreeMap<String, Value> = BTreeMap::new();
    for grant in grants {
        let member = |name: &str| grant.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, id) = (member("/subject/kind"), member("/subject/id"));
        let (area, called) = match kind.as_str() {
            "user" => ("users", "username"),
            "client" => ("clients", "name"),
            _ => continue,
        };
        if !names.contains_key(&id) {
            if names.len() == MOST_NAMES {
                continue;
            }
            let found = api.get(&format!("/v1/admin/{area}/{}", segment(&id)), &[]).await.unwrap_or_default();
            names.insert(id.clone(), found.get(called).cloned().unwrap_or_default());
        }
        if let (Some(name), Some(members)) = (names.get(&id), grant.as_object_mut()) {
            members.insert("name".to_owned(), name.clone());
        }
    }
}

fn id_of(grant: &Value) -> &str {
    grant.get("id").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_kind_and_an_id_that_may_hold_slashes() {
        let resource: Resource = "document/a/b".parse().unwrap();
        assert_eq!(resource, Resource { kind: "document".into(), id: "a/b".into() });
        for wrong in ["document", "/42", "document/", ""] {
            wrong.parse::<Resource>().unwrap_err();
        }
    }
}
