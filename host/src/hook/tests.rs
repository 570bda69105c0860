use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc as channel;

use super::*;
use crate::clock::ManualClock;
use crate::policy::Policy;
use crate::secret::Settings;
use crate::store::MemoryStore;

/// What somebody was sent.
#[derive(Debug)]
struct Heard {
    head: Vec<String>,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head
            .iter()
            .find_map(|line| line.strip_prefix(&*prefix))
    }
}

/// A server that answers with one status after the other, then with the last one, and tells what
/// it was sent.
fn server(statuses: &[&str]) -> (String, channel::Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let mut statuses: Vec<String> = statuses.iter().rev().map(ToString::to_string).collect();
    let (tell, heard) = channel::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = Vec::new();
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                head.push(line.trim_end().to_owned());
                line.clear();
            }
            let length = head
                .iter()
                .find_map(|it| it.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |it| it.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            let status = match &statuses[..] {
                [last] => last.clone(),
                _ => statuses.pop().unwrap(),
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            let body = String::from_utf8(body).unwrap();
            if tell.send(Heard { head, body }).is_err() {
                return;
            }
        }
    });
    (url, heard)
}

/// Hooks as a configuration has them, on a clock that goes when it is told to.
struct Fixture {
    events: Events,
    clock: ManualClock,
    outbox: Arc<MemoryStore>,
    policy: Current,
}

impl Fixture {
    fn new(config: &str) -> Fixture {
        Fixture {
            events: Events::new(),
            clock: ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()),
            outbox: Arc::default(),
            policy: Current::new(Arc::new(policy(config))),
        }
    }

    async fn start(&self) -> Hooks {
        let parts = HookParts {
            policy: self.policy.clone(),
            secrets: Arc::new(Providers::new(Settings::default())),
            outbox: self.outbox.clone(),
            clock: Arc::new(self.clock.clone()),
            events: self.events.clone(),
        };
        Hooks::start(parts).await.unwrap()
    }

    fn emit(&self, event: Event) {
        self.events.emit(self.clock.now(), event);
    }

    /// Turns the clock on until something has been heard.
    async fn hear(&self, heard: &channel::Receiver<Heard>) -> Heard {
        loop {
            if let Ok(heard) = heard.try_recv() {
                return heard;
            }
            tokio::task::yield_now().await;
            self.clock.advance(Duration::from_millis(100));
            std::thread::yield_now();
        }
    }

    async fn until(&self, mut reached: impl AsyncFnMut() -> bool) {
        while !reached().await {
            tokio::task::yield_now().await;
            self.clock.advance(Duration::from_millis(100));
            std::thread::yield_now();
        }
    }
}

fn policy(config: &str) -> Policy {
    let source = Arc::new(crate::job::SourceText::new("quarterjack.toml", config));
    Policy::parse(&source, std::path::Path::new(".")).unwrap()
}

fn removed(name: &str) -> Event {
    Event::PluginRemoved { name: name.into() }
}

#[tokio::test]
async fn events_are_sent_in_order_signed_and_once() {
    let (url, heard) = server(&["204 No Content"]);
    let fixture = Fixture::new(&format!(
        "[[hook]]\nname = \"a\"\nurl = \"{url}\"\nevents = [\"plugin.*\"]\n"
    ));
    let hooks = fixture.start().await;
    fixture.emit(removed("one.wasm"));
    fixture.emit(Event::StoreRecovered);
    fixture.emit(removed("two.wasm"));
    let first = fixture.hear(&heard).await;
    assert_eq!(first.head[0], "POST /hook HTTP/1.1");
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("webhook-id").unwrap().len(), 26);
    assert!(
        first
            .header("webhook-timestamp")
            .unwrap()
            .starts_with("17672")
    );
    assert_eq!(first.header("webhook-signature"), None);
    let told: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(told["event"], "plugin.removed");
    assert_eq!(told["plugin"], "one.wasm");
    let second = fixture.hear(&heard).await;
    assert!(second.body.contains("two.wasm"), "{second:?}");
    assert!(second.header("webhook-id") > first.header("webhook-id"));
    fixture
        .until(async || fixture.outbox.waiting().await.unwrap().is_empty())
        .await;
    hooks.finish().await;
    assert!(fixture.outbox.given_up().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_has_not_arrived_is_tried_again_and_then_given_up() {
    let (url, heard) = server(&[
        "503 Service Unavailable",
        "200 OK",
        "500 Internal Server Error",
    ]);
    let fixture = Fixture::new(&format!(
        "[[hook]]\nname = \"a\"\nurl = \"{url}\"\nevents = [\"plugin.*\"]\nattempts = 3\n"
    ));
    let mut told = fixture.events.subscribe();
    let _hooks = fixture.start().await;
    fixture.emit(removed("one.wasm"));
    let first = fixture.hear(&heard).await;
    let again = fixture.hear(&heard).await;
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"));
    fixture.emit(removed("two.wasm"));
    for _ in 0..3 {
        assert!(fixture.hear(&heard).await.body.contains("two.wasm"));
    }
    fixture
        .until(async || fixture.outbox.waiting().await.unwrap().is_empty())
        .await;
    let [given_up] = &fixture.outbox.given_up().await.unwrap()[..] else {
        panic!("one is given up");
    };
    assert_eq!((&*given_up.event, given_up.attempts), ("plugin.removed", 3));
    let failed = loop {
        let event = told.try_recv().expect("it is told").event;
        if let Event::HookFailed {
            hook,
            attempts,
            error,
            delivery,
        } = event
        {
            assert_eq!(delivery, Some(given_up.id));
            break format!("{hook} {attempts}: {error}");
        }
    };
    insta::assert_snapshot!(failed, @"a 3: is answered with 500 Internal Server Error: the server or what is before it has a problem");
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again_and_holds_up_nobody() {
    let (url, heard) = server(&["400 Bad Request", "200 OK"]);
    let fixture = Fixture::new(&format!(
        "[[hook]]\nname = \"a\"\nurl = \"{url}\"\nevents = [\"*\"]\n\
         [[hook]]\nname = \"down\"\nurl = \"http://127.0.0.1:1/\"\nevents = [\"*\"]\nattempts = 2\n"
    ));
    let _hooks = fixture.start().await;
    fixture.emit(removed("one.wasm"));
    fixture.emit(removed("two.wasm"));
    assert!(fixture.hear(&heard).await.body.contains("one.wasm"));
    assert!(fixture.hear(&heard).await.body.contains("two.wasm"));
    fixture
        .until(async || fixture.outbox.waiting().await.unwrap().is_empty())
        .await;
    let given_up = fixture.outbox.given_up().await.unwrap();
    let mut told: Vec<String> = given_up
        .iter()
        .map(|it| {
            format!(
                "{} {}: {}",
                it.hook,
                it.attempts,
                it.error.as_deref().unwrap()
            )
        })
        .collect();
    told.sort();
    // Nor is anybody told of the trouble with the others.
    insta::assert_snapshot!(told.join("\n"), @"
    a 1: is answered with 400 Bad Request: an event that has arrived is answered with a status of 200 to 299
    down 2: cannot be reached: 127.0.0.1:1 refuses the connection: is the server running, and is this its port?
    down 2: cannot be reached: 127.0.0.1:1 refuses the connection: is the server running, and is this its port?
    ");
}

#[tokio::test]
async fn what_one_host_has_not_sent_the_next_one_does() {
    let fixture = Fixture::new(
        "[[hook]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\nevents = [\"plugin.*\"]\n",
    );
    let hooks = fixture.start().await;
    fixture.emit(removed("one.wasm"));
    hooks.finish().await;
    assert_eq!(fixture.outbox.waiting().await.unwrap().len(), 1);
    let (url, heard) = server(&["200 OK"]);
    let config = format!("[[hook]]\nname = \"a\"\nurl = \"{url}\"\nevents = [\"plugin.*\"]\n");
    fixture.policy.set(Arc::new(policy(&config)));
    let _hooks = fixture.start().await;
    assert!(fixture.hear(&heard).await.body.contains("one.wasm"));
    // A hook that is gone from the configuration is told nothing more.
    fixture.policy.set(Arc::default());
    fixture.emit(removed("two.wasm"));
    fixture
        .until(async || fixture.outbox.waiting().await.unwrap().is_empty())
        .await;
    assert!(heard.try_recv().is_err());
}

#[test]
fn patience_grows_and_has_an_end() {
    let seconds = |attempts| delay(attempts, 0.5).as_secs();
    assert_eq!(
        [1, 2, 3, 4, 8, 9, 100].map(seconds),
        [1, 3, 9, 27, 2187, 3600, 3600]
    );
    assert!(delay(2, 0.0) < delay(2, 1.0));
}
