//! Which calls may be made twice. The contract keeps reads and writes in separate services, so mostly their names tell.

/// What the names of services end in that only read.
const READS: [&str; 2] = ["ReadService", "CheckService"];
/// Methods of other services. A session that is looked up twice is active twice at the same moment, which is once.
const METHODS: [&str; 1] = ["/latchkey.session.v1.SessionService/ResolveSession"];

pub(super) fn is_repeatable(path: &str) -> bool {
    let service = path.rsplit_once('/').map_or("", |(service, _)| service);
    READS.iter().any(|suffix| service.ends_with(suffix)) || METHODS.contains(&path)
}
