//! What a run may touch: nothing, unless its definition says so.

mod decode;
mod dirs;
pub mod network;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use network::{AddressRange, Endpoint, OriginPattern};

pub(super) use decode::decode;
pub use decode::{GrantPlaces, check_env_name, check_secret_name};

/// Nothing granted: one for all the jobs that need nothing.
static NONE: LazyLock<Arc<Grants>> = LazyLock::new(Arc::default);

/// What a run may touch. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Environment variables, by name.
    pub env: Vec<(String, EnvValue)>,
    /// Directories of the host.
    pub dirs: Vec<DirGrant>,
    /// What `wasi:config` gives, by key.
    pub config: Vec<(String, String)>,
    /// Outgoing HTTP requests.
    pub http: Option<HttpGrant>,
    /// Sockets, and the names that may be looked up for them.
    pub sockets: Option<SocketGrant>,
    /// Secrets, by the names that the operator's providers know.
    pub secrets: Vec<Arc<str>>,
    /// A key-value store of the job's own.
    pub state: Option<StateQuota>,
    /// The definitions of other jobs.
    pub schedule: Option<ScheduleGrant>,
}

impl Grants {
    /// Nothing. Shared, so that a job without grants costs no memory for them.
    pub fn none() -> Arc<Grants> {
        NONE.clone()
    }

    /// The names of all secrets that a run may be given, be it by asking or in its environment.
    pub fn all_secrets(&self) -> impl Iterator<Item = &Arc<str>> {
        let in_env = self.env.iter().filter_map(|(_, value)| match value {
            EnvValue::Secret(name) => Some(name),
            EnvValue::Text(_) => None,
        });
        self.secrets.iter().chain(in_env)
    }
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// This text.
    Text(String),
    /// The secret of this name, for programs that know no other way to be given one.
    Secret(Arc<str>),
}

/// A directory of the host that a job sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirGrant {
    /// Where it is on the host, absolute or relative to the host's working directory.
    pub host: PathBuf,
    /// Where the job finds it, such as `/data`.
    pub guest: String,
    /// What the job may do there.
    pub access: Access,
    /// The most bytes that may be in the directory, in files of all sizes together, for the job
    /// to be let write more; nothing for as much as the disk has.
    pub quota: Option<u64>,
    /// The directories that it has to stay beneath, the widest first, each beneath the one before:
    /// those of the jobs that the definition was made by. Empty where a person wrote it.
    pub beneath: Vec<PathBuf>,
}

/// What a job may do in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read and list.
    ReadOnly,
    /// Also create, write, rename and delete.
    ReadWrite,
}

/// Where a job may send HTTP requests, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// The origins that it may reach.
    pub origins: Vec<OriginPattern>,
    /// Addresses that are not public and may be reached all the same, where a name leads there.
    pub addresses: Vec<AddressRange>,
    /// How long one request may take, from its start to the end of its response.
    pub timeout: Duration,
    /// How many requests one run may send.
    pub requests: u32,
    /// How many bytes the body of one request, and that of one response, may have.
    pub body: u64,
}

impl HttpGrant {
    /// How long a request may take where the definition does not say.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// How many requests a run may send where the definition does not say.
    pub const REQUESTS: u32 = 100;
    /// How many bytes a body may have where the definition does not say.
    pub const BODY: u64 = 16 << 20;
}

impl Default for HttpGrant {
    /// No origin yet, with the usual limits.
    fn default() -> Self {
        HttpGrant {
            origins: Vec::new(),
            addresses: Vec::new(),
            timeout: HttpGrant::TIMEOUT,
            requests: HttpGrant::REQUESTS,
            body: HttpGrant::BODY,
        }
    }
}

/// Whom a job may talk to over TCP and UDP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketGrant {
    /// The peers that it may reach; their names, and no others, can be looked up.
    pub endpoints: Vec<Endpoint>,
    /// Addresses that are not public and may be reached all the same, where a name leads there.
    pub addresses: Vec<AddressRange>,
}

/// How much a job may keep in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateQuota {
    /// How many keys.
    pub keys: u64,
    /// How many bytes, of keys and values together.
    pub size: u64,
}

impl StateQuota {
    /// What holds where the definition does not say.
    pub const DEFAULT: StateQuota = StateQuota {
        keys: 1_000,
        size: 1 << 20,
    };

    /// The most that a definition may ask for.
    pub const MAXIMUM: StateQuota = StateQuota {
        keys: 100_000,
        size: 64 << 20,
    };
}

/// Which jobs a job may define, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleGrant {
    /// What their ids begin with; never empty.
    pub prefix: Arc<str>,
    /// How many there may be at a time.
    pub max_jobs: u32,
    /// What becomes of them when the job that made them is removed.
    pub on_removal: OnRemoval,
}

impl ScheduleGrant {
    /// How many jobs there may be where the definition does not say.
    pub const MAX_JOBS: u32 = 100;
    /// The most that may be asked for.
    pub const MOST_JOBS: u32 = 10_000;
}

/// What becomes of the jobs that a job has made when it is removed itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnRemoval {
    /// They go with it.
    #[default]
    Remove,
    /// They stay. They belong to whoever made the job that made them: to nobody, if that was a
    /// person.
    Keep,
}

impl OnRemoval {
    /// As a definition has it.
    pub fn as_str(self) -> &'static str {
        match self {
            OnRemoval::Remove => "remove",
            OnRemoval::Keep => "keep",
        }
    }
}

/// Something that only a grant gives: what a run wants when it finds a door closed, and what the
/// operator's ceiling is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// A variable of the environment.
    Env(String),
    /// A directory of the host.
    Dir {
        /// Where it is on the host.
        host: PathBuf,
        /// Where the job finds it.
        guest: String,
        /// What the job may do there.
        access: Access,
    },
    /// A setting.
    Config(String),
    /// Requests to an origin such as `https://api.example.com`.
    Http(String),
    /// Connections or datagrams to a peer such as `tcp://db.example.com:5432`.
    Socket(String),
    /// An address that is not public and that a granted name leads to.
    Address {
        /// The address.
        ip: IpAddr,
        /// The list of names in the grant, beside which it would stand: `origins` or `endpoints`.
        beside: &'static str,
        /// The grant: `http` or `sockets`.
        of: &'static str,
    },
    /// The secret of a name.
    Secret(String),
    /// State of the job's own.
    State,
    /// The definition of a job of this id.
    Schedule(String),
}

impl Need {
    /// What a definition says to have it, as in `"grants": { "http": ["https://example.com"] }`.
    pub fn grant(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let inner = match self {
            Need::Env(name) => format!("\"env\": {{ {}: \"…\" }}", text(name)),
            Need::Dir {
                host,
                guest,
                access,
            } => {
                let mode = match access {
                    Access::ReadOnly => "",
                    Access::ReadWrite => ":rw",
                };
                let dir = format!("{}::{guest}{mode}", host.display());
                format!("\"dirs\": [{}]", text(&dir))
            }
            Need::Config(key) => format!("\"config\": {{ {}: \"…\" }}", text(key)),
            Need::Http(origin) => format!("\"http\": [{}]", text(origin)),
            Need::Socket(endpoint) => format!("\"sockets\": [{}]", text(endpoint)),
            Need::Address { ip, beside, of } => {
                return format!("\"addresses\": [\"{ip}\"] beside the \"{beside}\" of \"{of}\"");
            }
            Need::Secret(name) => format!("\"secrets\": [{}]", text(name)),
            Need::State => "\"state\": true".to_owned(),
            Need::Schedule(id) => {
                // The namespace that the id is in, if it names one.
                let prefix = match id.rfind('/') {
                    Some(end) => id.get(..=end).unwrap_or(id),
                    None => id,
                };
                format!("\"schedule\": {{ \"prefix\": {} }}", text(prefix))
            }
        };
        format!("\"grants\": {{ {inner} }}")
    }
}
