//! A target that does what a closure says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as a target got it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The lines after the last chunk.
    pub(crate) trailers: Vec<String>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        super::header(&self.head, name)
    }

    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("")
    }
}

/// What a target does with a request.
pub(crate) enum Deed {
    /// Answers with these bytes.
    Answer(Vec<u8>),
    /// Answers when told to.
    When(Arc<tokio::sync::Notify>, Vec<u8>),
    /// Answers and closes.
    AnswerAndClose(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Says nothing.
    Silence,
}

/// A target on a port of its own. It ends when dropped.
pub(crate) struct Target {
    pub(crate) at: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Got>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// 200 with this body.
pub(crate) fn ok(body: &str) -> Deed {
    Deed::Answer(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into(),
    )
}

impl Target {
    pub(crate) async fn start(deed: impl Fn(&Got) -> Deed + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), deed).await
    }

    /// Answers everything with its name.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |_| ok(name)).await
    }

    pub(crate) async fn start_at(
        at: SocketAddr,
        deed: impl Fn(&Got) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count, deed) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(deed));
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (log, deed) = (Arc::clone(&log), Arc::clone(&deed));
                serving.spawn(async move {
                    serve(stream, &log, &*deed).await;
                });
            }
        });
        Self {
            at,
            seen,
            connections,
            task,
        }
    }

    pub(crate) fn last(&self) -> Got {
        self.seen.lock().unwrap().last().expect("a request").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Got>>,
    deed: &(dyn Fn(&Got) -> Deed + Send + Sync),
) {
    let mut bytes = Vec::new();
    while let Some(got) = read_request(&mut stream, &mut bytes).await {
        let deed = deed(&got);
        log.lock().unwrap().push(got);
        let (answer, close) = match deed {
            Deed::Answer(answer) => (answer, false),
            Deed::When(notify, answer) => {
                notify.notified().await;
                notify.notify_one();
                (answer, false)
            }
            Deed::AnswerAndClose(answer) => (answer, true),
            Deed::Close => return,
            Deed::Silence => std::future::pending().await,
        };
        if stream.write_all(&answer).await.is_err() || close {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Got> {
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end - 4]).into_owned();
    bytes.drain(..end);
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    if super::header(&head, "transfer-encoding").is_some() {
        loop {
            let line = read_line(stream, bytes).await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                loop {
                    match read_line(stream, bytes).await? {
                        line if line.is_empty() => break,
                        line => trailers.push(line),
                    }
                }
                break;
            }
            body.extend(read_exact(stream, bytes, size).await?);
            read_line(stream, bytes).await?;
        }
    } else if let Some(length) = super::header(&head, "content-length") {
        body = read_exact(stream, bytes, length.parse().ok()?).await?;
    }
    Some(Got {
        head,
        body,
        trailers,
    })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(bytes).await.ok()? > 0).then_some(())
}

async fn read_line(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
            let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 2);
            return Some(line);
        }
        more(stream, bytes).await?;
    }
}

async fn read_exact(stream: &mut TcpStream, bytes: &mut Vec<u8>, size: usize) -> Option<Vec<u8>> {
    while bytes.len() < size {
        more(stream, bytes).await?;
    }
    Some(bytes.drain(..size).collect())
}
