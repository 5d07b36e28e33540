//! Certificate authorities of the host's configuration: what is trusted with them, and what is not without.

use std::sync::Arc;

use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{KEY, Vendor};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// TLS before a server of plain HTTP, with a certificate that only this authority vouches for.
struct Tls {
    /// Of the authority.
    pem: String,
    port: u16,
}

impl Tls {
    async fn before(port: u16) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let authority = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        tokio::spawn(terminate(listener, TlsAcceptor::from(Arc::new(config)), port));
        Self { pem, port: own }
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }
}

async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, port: u16) {
    while let Ok((client, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Whoever does not trust us goes.
            let Ok(mut client) = acceptor.accept(client).await else { return };
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("the server behind");
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

fn port_of(vendor: &Vendor) -> u16 {
    let port = vendor.base_url().trim_end_matches("/v1").rsplit(':').next();
    port.and_then(|port| port.parse().ok()).expect("a port")
}

/// What the agent gets of a remote MCP server through its door.
async fn through_the_door(home: &TestHome) -> String {
    let call = "!run curl -s -m 20 -w ' status=%{http_code}' -H 'content-type: application/json' -d '{}' \
                http://127.0.0.1:8787/mcp/far";
    home.admin().chat("demo", call).await.text()
}

async fn doctor(home: &TestHome) -> Value {
    let report = home.cli(&["doctor", "--json"]).await.json();
    let checks = report["checks"].as_array().cloned().unwrap_or_default();
    checks.into_iter().find(|check| check["name"] == "certificates").unwrap_or(Value::Null)
}

#[tokio::test]
async fn endpoints_and_mcp_servers_are_trusted_with_the_authority_and_refused_without() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    let tls = Tls::before(port_of(&vendor)).await;
    home.up().await;
    let url = tls.url("/v1");
    let login = ["account", "login", "far", "--kind", "compatible", "--base-url", &url, "--key-file", "-"];
    assert_eq!(home.cli_given(&login, KEY).await.code, 0);
    // The model of the session is inside the host: only the server is far.
    let far =
        json!({"account": "offline", "mcpServers": {"far": {"url": tls.url("/mcp"), "startup_timeout_sec": 1}}});
    home.group("demo", &far).await;

    let test = home.cli(&["account", "test", "far"]).await;
    assert!(test.code == 15 && test.stderr.contains("certificate"), "{test:?}");
    let refused = through_the_door(&home).await;
    assert!(refused.contains("status=502") && refused.contains("certificate"), "{refused}");
    assert_eq!(doctor(&home).await, Value::Null, "nothing is to be said of it");

    home.stop().await;
    std::fs::write(home.root().join("ca.pem"), &tls.pem).expect("written");
    home.configure("ca_file = \"ca.pem\"\n");
    home.up().await;
    let test = home.cli(&["account", "test", "far"]).await;
    assert_eq!(test.code, 0, "{test:?}");
    let passed = through_the_door(&home).await;
    assert!(passed.contains("status=404"), "the server has no such page: {passed}");
    home.group("model", &json!({"account": "far"})).await;
    let answer = home.admin().chat("model", "hello").await;
    assert!(answer.text().contains("vendor answer"), "{}", answer.text());
    let check = doctor(&home).await;
    assert!(
        check["outcome"] == "ok" && check["detail"].as_str().is_some_and(|text| text.starts_with("1 of ")),
        "{check}"
    );

    // Another authority's word is none.
    home.stop().await;
    let other = Tls::before(port_of(&vendor)).await;
    std::fs::write(home.root().join("ca.pem"), &other.pem).expect("written");
    home.up().await;
    assert_eq!(home.cli(&["account", "test", "far"]).await.code, 15);
}

#[tokio::test]
async fn a_file_without_certificates_stops_the_start_and_doctor_says_so() {
    let mut home = TestHome::new();
    let file = home.root().join("odd.pem");
    home.env("COFFERDAM_CA_FILE", file.to_str().expect("UTF-8"));
    let up = home.cli(&["up"]).await;
    assert!(up.code == 3 && up.stderr.contains("COFFERDAM_CA_FILE") && up.stderr.contains("odd.pem"), "{up:?}");
    for text in ["hush", "-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&file, text).expect("written");
        let up = home.cli(&["up"]).await;
        assert!(up.code == 3 && up.stderr.contains("no certificate") && up.stderr.contains("odd.pem"), "{up:?}");
        assert!(!up.stderr.contains("hush") && !up.stderr.contains("aHVzaA"), "{up:?}");
        let check = doctor(&home).await;
        assert!(
            check["outcome"] == "failed" && check["detail"].as_str().is_some_and(|text| text.contains("odd.pem")),
            "{check}"
        );
    }
}
