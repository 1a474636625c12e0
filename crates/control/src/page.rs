use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The token of the next page; `None` on the last one.
    pub next_token: Option<String>,
}

/// The token was not made by this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pagination token is not valid")]
pub struct BadToken;

/// Cuts a page of at most `size` out of `items`, which are in ascending order of `key`. The token names
/// the last key given, so that items made or deleted meanwhile neither shift nor repeat others.
///
/// # Errors
/// [`BadToken`] when the token was not made here.
pub fn paginate<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    size: usize,
    token: Option<&str>,
) -> Result<Page<T>, BadToken> {
    paginate_from(|_| items, key, size, token)
}

/// The same of items that are not made before they are looked at: `from` gives those whose keys are behind the bound.
/// A page costs what is on it, and what a filter within `from` passed over.
///
/// # Errors
/// [`BadToken`] when the token was not made here.
pub fn paginate_from<T, I: IntoIterator<Item = T>>(
    from: impl FnOnce(Bound<String>) -> I,
    key: impl Fn(&T) -> String,
    size: usize,
    token: Option<&str>,
) -> Result<Page<T>, BadToken> {
    let after = token.map(decode).transpose()?;
    let start = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = from(start)
        .into_iter()
        .filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let next_token = page.last().filter(|_| more).map(|last| encode(&key(last)));
    Ok(Page {
        items: page,
        next_token,
    })
}

fn encode(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("lath1:{key}"))
}

fn decode(token: &str) -> Result<String, BadToken> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
    let text = String::from_utf8(bytes).map_err(|_| BadToken)?;
    text.strip_prefix("lath1:")
        .map(str::to_owned)
        .ok_or(BadToken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::RangeBounds as _;

    #[test]
    fn a_page_makes_what_is_on_it() {
        let made = std::cell::Cell::new(0);
        let mut token = None;
        for _ in 0..2 {
            let from = |start: Bound<String>| {
                let all = (0..1000).map(|n| format!("id-{n:04}"));
                let rest = all.filter(move |id| (start.clone(), Bound::Unbounded).contains(id));
                rest.inspect(|_| made.set(made.get() + 1))
            };
            let page = paginate_from(from, String::clone, 5, token.as_deref()).unwrap();
            token = page.next_token;
        }
        assert_eq!(
            made.get(),
            12,
            "five, and one that says whether there are more"
        );
    }

    #[test]
    fn pages_join_to_the_whole() {
        let all: Vec<String> = (0..10).map(|n| format!("id-{n}")).collect();
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let page = paginate(all.clone(), String::clone, 3, token.as_deref()).unwrap();
            seen.extend(page.items);
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        assert_eq!(paginate(all, String::clone, 3, Some("junk")), Err(BadToken));
    }
}
