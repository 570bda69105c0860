//! TLS for a connection to PostgreSQL, whose server has to prove who it is.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, client};

/// Makes connections TLS ones.
#[derive(Clone)]
pub(super) struct Tls(Option<TlsConnector>);

impl Tls {
    /// For connections that are to be no TLS ones.
    pub(super) fn none() -> Tls {
        Tls(None)
    }

    /// Trusts those whom a file names in PEM, or else whom this machine trusts.
    ///
    /// # Errors
    /// Why nobody can be trusted.
    pub(super) fn trusting(file: Option<&Path>) -> Result<Tls, String> {
        let mut roots = rustls::RootCertStore::empty();
        let (found, mut why) = match file {
            Some(file) => {
                let unusable = |error| format!("the certificates of {}: {error}", file.display());
                let found = CertificateDer::pem_file_iter(file).map_err(unusable)?;
                let found: Result<Vec<_>, _> = found.collect();
                let why = format!("there are no certificates in {}", file.display());
                (found.map_err(unusable)?, why)
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let why = "this host trusts no certificate authority".to_owned();
                let why = match found.errors.first() {
                    Some(error) => format!("{why} ({error})"),
                    None => why,
                };
                (found.certs, why)
            }
        };
        let (usable, _) = roots.add_parsable_certificates(found);
        if usable == 0 {
            why.push_str(": install the system's CA certificates, or name a file of them with `sslrootcert` in the URL");
            return Err(why);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(Some(TlsConnector::from(Arc::new(config)))))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        // A socket in the file system has no name, and needs none: it is not made a TLS one.
        let name = ServerName::try_from(domain.to_owned()).ok();
        Ok(Connect(self.0.clone(), name))
    }
}

/// Makes one connection a TLS one.
pub(super) struct Connect(Option<TlsConnector>, Option<ServerName<'static>>);

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let Connect(connector, name) = self;
        Box::pin(async move {
            let (Some(connector), Some(name)) = (connector, name) else {
                let message = "the server's name is none that a certificate can hold";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            };
            Ok(Stream(Box::new(connector.connect(name, stream).await?)))
        })
    }
}

/// A connection that is a TLS one.
pub(super) struct Stream(Box<client::TlsStream<Socket>>);

impl TlsStream for Stream {
    /// None: whoever has the certificate's key is the server.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
