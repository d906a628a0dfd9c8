//! Claims about calls, over real sockets of loopback; and a server to make claims about.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::BytesMut;
use h2::server::{self, SendResponse};
use http::Response;
use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

const WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, PartialEq, prost::Message)]
struct Word {
    #[prost(string, tag = "1")]
    text: String,
}

fn word(text: &str) -> Word {
    Word {
        text: text.to_owned(),
    }
}

/// One call as a server under test sees it.
pub(crate) struct Heard {
    /// The method.
    pub(crate) method: String,
    /// The fields.
    pub(crate) fields: HeaderMap,
    body: RecvStream,
    frames: Frames,
    answer: SendResponse<Bytes>,
    out: Option<SendStream<Bytes>>,
}

impl Heard {
    /// What the client said next.
    pub(crate) async fn next<A: Message + Default>(&mut self) -> Option<A> {
        loop {
            if let Some(message) = self.frames.take().unwrap() {
                return Some(A::decode(message).unwrap());
            }
            let data = self.body.data().await?.ok()?;
            let _gone = self.body.flow_control().release_capacity(data.len());
            self.frames.push(&data);
        }
    }

    /// Answers.
    pub(crate) fn say(&mut self, message: &impl Message) {
        self.send(framed(message));
    }

    /// Ends the call.
    pub(crate) fn end(mut self, code: &str, message: &str) {
        self.send(Bytes::new());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.parse().unwrap());
        trailers.insert("grpc-message", message.parse().unwrap());
        let _gone = self.out.take().unwrap().send_trailers(trailers);
    }

    fn send(&mut self, bytes: Bytes) {
        let out = self.out.get_or_insert_with(|| {
            let head = Response::builder().header("content-type", "application/grpc");
            self.answer
                .send_response(head.body(()).unwrap(), false)
                .unwrap()
        });
        let _gone = out.send_data(bytes, false);
    }
}

/// A server that hands each call to `serve`, in a task of its own.
pub(crate) async fn server<F>(
    env: &Env,
    serve: impl Fn(Heard) -> F + Send + Sync + 'static,
) -> (Url, Task)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    let clock = env.clone();
    let task = env.spawn("grpc server", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (serve, env) = (Arc::clone(&serve), clock.clone());
            let connection = clock.spawn("grpc connection", async move {
                let mut connection = server::handshake(socket).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    let (head, body) = request.into_parts();
                    let call = Heard {
                        method: head.uri.path().to_owned(),
                        fields: head.headers,
                        body,
                        frames: Frames::default(),
                        answer,
                        out: None,
                    };
                    env.spawn("grpc call", serve(call)).detach();
                }
            });
            connection.detach();
        }
    });
    (
        Url::parse(&format!("http://127.0.0.1:{port}")).unwrap(),
        task,
    )
}

async fn echo(mut heard: Heard) {
    let said: Word = heard.next().await.unwrap();
    if said.text == "refuse" {
        return heard.end("14", "no%20leader");
    }
    let token = heard
        .fields
        .get("token")
        .map(|token| token.to_str().unwrap());
    let text = format!("{} {} {}", heard.method, said.text, token.unwrap_or("-"));
    heard.say(&word(&text));
    heard.end("0", "");
}

#[tokio::test]
async fn a_call_is_answered_and_a_refusal_is_told() {
    let env = Env::system();
    let (url, _server) = server(&env, echo).await;
    let opened = Channel::open(&url, None, KeepAlive::Ping, &env).await;
    let mut channel = opened.unwrap();
    let mut fields = HeaderMap::new();
    fields.insert("token", HeaderValue::from_static("t1"));
    channel.extend_fields(fields);
    let answer: Word = channel.call("/a/B", &word("hello"), WITHIN).await.unwrap();
    assert_eq!(answer.text, "/a/B hello t1");
    let refused = channel.call::<Word>("/a/B", &word("refuse"), WITHIN).await;
    let error = refused.unwrap_err();
    assert_eq!(error.to_string(), "it says unavailable: no leader");
    let large = "x".repeat(1 << 20);
    let answer: Word = channel.call("/a/B", &word(&large), WITHIN).await.unwrap();
    assert_eq!(answer.text.len(), large.len() + "/a/B  t1".len());
}

#[tokio::test]
async fn a_stream_goes_on_for_as_long_as_both_like() {
    let env = Env::system();
    let (url, _server) = server(&env, async |mut heard: Heard| {
        while let Some(said) = heard.next::<Word>().await {
            heard.say(&said);
            heard.say(&word("again"));
        }
        heard.end("0", "");
    })
    .await;
    let opened = Channel::open(&url, None, KeepAlive::Never, &env).await;
    let mut channel = opened.unwrap();
    let mut stream = channel.stream("/a/B").await.unwrap();
    stream.send(&word("one")).unwrap();
    assert_eq!(stream.next::<Word>().await.unwrap(), Some(word("one")));
    assert_eq!(stream.next::<Word>().await.unwrap(), Some(word("again")));
    stream.send(&word("two")).unwrap();
    stream.finish().unwrap();
    assert_eq!(stream.next::<Word>().await.unwrap(), Some(word("two")));
    assert_eq!(stream.next::<Word>().await.unwrap(), Some(word("again")));
    assert_eq!(stream.next::<Word>().await.unwrap(), None);
}

#[test]
fn a_message_at_the_limit_is_read_and_one_above_is_not() {
    let head = |size: usize| {
        let size = u32::try_from(size).unwrap().to_be_bytes();
        [&[0][..], &size].concat()
    };
    let mut frames = Frames::default();
    frames.push(&head(MESSAGE_BYTES_MAX));
    assert!(frames.take().unwrap().is_none());
    let mut frames = Frames::default();
    frames.push(&head(MESSAGE_BYTES_MAX + 1));
    assert!(matches!(frames.take(), Err(GrpcError::TooLarge { .. })));
    let mut frames = Frames::default();
    frames.push(&[1, 0, 0, 0, 0]);
    assert!(matches!(frames.take(), Err(GrpcError::Compressed)));
}

proptest! {
    #[test]
    fn messages_are_read_however_they_are_cut(
        texts in proptest::collection::vec("[a-z]{0,40}", 1..6),
        cut in 1_usize..20,
    ) {
        let mut bytes = BytesMut::new();
        for text in &texts {
            bytes.extend_from_slice(&framed(&word(text)));
        }
        let mut frames = Frames::default();
        let mut read = Vec::new();
        for chunk in bytes.chunks(cut) {
            frames.push(chunk);
            while let Some(message) = frames.take().unwrap() {
                read.push(Word::decode(message).unwrap().text);
            }
        }
        prop_assert_eq!(read, texts);
    }
}
