//! Lists in pages: how many, and after which.

/// Items on a page where the caller does not say.
const DEFAULT_SIZE: u32 = 100;
/// Most items on a page.
const MAX_SIZE: u32 = 1_000;

/// A page that was asked for. Lists are ordered by id, which never changes: a page token is the last id of the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub size: u32,
    /// Empty: from the start.
    pub after: String,
}

/// One page, and where the next begins; empty on the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: String,
}

impl PageRequest {
    /// Zero is the default; larger than allowed is `None`.
    pub fn parse(size: u32, after: &str) -> Option<Self> {
        let size = if size == 0 { DEFAULT_SIZE } else { size };
        (size <= MAX_SIZE).then(|| Self { size, after: after.to_owned() })
    }
}

impl<T> Page<T> {
    /// From up to `size + 1` items: one more than fits says that there is a next page.
    pub fn cut(mut items: Vec<T>, request: &PageRequest, id: impl Fn(&T) -> &str) -> Self {
        let size = request.size as usize;
        let more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| more).map(|item| id(item).to_owned()).unwrap_or_default();
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut() {
        let request = PageRequest::parse(2, "").unwrap();
        let page = |items: &[&str]| {
            Page::cut(items.iter().map(|s| (*s).to_owned()).collect(), &request, |s: &String| s)
        };
        assert_eq!(page(&["a", "b", "c"]).next, "b");
        assert_eq!(page(&["a", "b", "c"]).items, ["a", "b"]);
        assert_eq!(page(&["a", "b"]).next, "");
        assert_eq!(page(&[]).next, "");
        assert_eq!(PageRequest::parse(0, "").unwrap().size, 100);
        assert_eq!(PageRequest::parse(1_001, ""), None);
    }
}
