//! Reads lists, a page at a time.

use crate::domain::{Grant, GrantFilter, GrantId, Group, GroupName, Page, Role, RoleName, Slice};
use crate::store::{Store, StoreError};

pub async fn roles(store: &dyn Store, page: &Page<RoleName>) -> Result<Slice<Role>, StoreError> {
    store.roles(page).await
}

pub async fn grants(
    store: &dyn Store,
    filter: &GrantFilter,
    page: &Page<GrantId>,
) -> Result<Slice<Grant>, StoreError> {
    store.grants(filter, page).await
}

pub async fn groups(store: &dyn Store, page: &Page<GroupName>) -> Result<Slice<Group>, StoreError> {
    store.groups(page).await
}
