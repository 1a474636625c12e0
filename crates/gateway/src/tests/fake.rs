//! A server for tests: it answers JSON with JSON, to the clients of both APIs, and writes down what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Request {
    /// Method and path in one text.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path.join("/"))
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, the name of an error of AWS, and the body.
    Reply(u16, &'static str, Value),
    Never,
}

impl Answer {
    pub(crate) fn ok(body: Value) -> Self {
        Self::Reply(200, "", body)
    }

    pub(crate) fn not_found() -> Self {
        Self::refused(404, "ResourceNotFoundException")
    }

    pub(crate) fn refused(status: u16, error: &'static str) -> Self {
        let body = json!({"message": error, "reason": error, "status": "Failure"});
        Self::Reply(status, error, body)
    }
}

type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn begin(handler: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, handler): (_, Handler) = (Arc::clone(&asked), Arc::new(handler));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&log)));
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that takes this for an API server.
    pub(crate) fn kubernetes(&self) -> kube::Client {
        let config = kube::Config::new(self.url().parse().unwrap());
        kube::Client::try_from(config).unwrap()
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests that change something.
    pub(crate) fn changes(&self) -> Vec<String> {
        let asked = self.asked();
        let changes = asked.iter().filter(|it| {
            it.method != "GET" && it.path.last().is_none_or(|last| last != "listtargets")
        });
        changes.map(Request::line).collect()
    }

    /// Forgets what was asked.
    pub(crate) fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }
}

/// Resolves `%41` and the like.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3);
        match (
            bytes[at],
            code.and_then(|it| u8::from_str_radix(it, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

async fn serve(stream: TcpStream, handler: Handler, log: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).await.unwrap_or_default() == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or_default() <= 2 {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let mut words = first.split_whitespace();
        let method = words.next().unwrap().to_owned();
        let target = words.next().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|it| it.split_once('='));
        let request = Request {
            method,
            path: path[1..].split('/').map(decoded).collect(),
            query: pairs.map(|(k, v)| (decoded(k), decoded(v))).collect(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        log.lock().unwrap().push(request.clone());
        let kubernetes = request.path[0].starts_with("api");
        let Answer::Reply(status, error, mut body) = handler(request) else {
            return std::future::pending().await;
        };
        if kubernetes && status >= 400 {
            body["code"] = json!(status);
            body["reason"] = json!(if status == 404 { "NotFound" } else { error });
        }
        let body = body.to_string();
        let mut head = format!("HTTP/1.1 {status} {status}\r\ncontent-type: application/json\r\n");
        if !error.is_empty() {
            head += &format!("x-amzn-errortype: {error}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}
