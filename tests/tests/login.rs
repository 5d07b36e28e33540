//! The ways to a login, end to end over loopback: the test is the browser and the person.

use cofferdam::trust::Trust;
use cofferdam::vault::Tokens;
use cofferdam::vault::issuer::{Issuer, IssuerError, Refusal};
use cofferdam::vault::login::{Browser, Device, LoginError};
use cofferdam_tests::eventually;
use cofferdam_tests::issuer::{Issuer as Fake, Person, SECRET};
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

struct Fixture {
    fake: Fake,
    issuer: Issuer,
    browser: Client,
}

impl Fixture {
    async fn new() -> Self {
        let fake = Fake::start().await;
        let issuer = Issuer::new(fake.address(), &Trust::MACHINE).expect("an issuer");
        let redirects = reqwest::redirect::Policy::none();
        let browser = Client::builder().no_proxy().redirect(redirects).build().expect("a browser");
        Self { fake, issuer, browser }
    }

    async fn begin(&self) -> Browser {
        Browser::begin_on(&self.issuer, &[free_port().await]).await
    }

    /// The person opens the page and answers it; where the browser is sent.
    async fn page(&self, login: &Browser) -> Url {
        let page = self.browser.get(login.url()).send().await.expect("a page");
        assert!(page.status().is_redirection(), "{page:?}");
        page.headers()["location"].to_str().expect("an address").parse().expect("an address")
    }

    fn visit(&self, url: Url) -> tokio::task::JoinHandle<Response> {
        let request = self.browser.get(url).send();
        tokio::spawn(async move { request.await.expect("an answer") })
    }

    fn check(&self, tokens: &Tokens) {
        assert!(self.fake.accepts(tokens.access_token.expose_secret()));
        assert_eq!(tokens.account_id.as_deref(), Some("acc-test"));
    }
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port()
}

fn with(url: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut url = url.clone();
    let pairs = pairs.into_iter().map(|(key, old)| if key == name { (key, value.to_owned()) } else { (key, old) });
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url
}

#[tokio::test]
async fn a_browser_logs_in_and_shows_so_once_the_tokens_are_there() {
    let f = Fixture::new().await;
    let mut login = f.begin().await;
    assert!(login.listens() && login.busy().is_empty());
    let back = f.page(&login).await;
    let shown = f.visit(back.clone());
    let received = login.received().await.expect("a code");
    assert!(!shown.is_finished(), "the browser waits for what comes of it");
    f.check(&login.finish(received).await.expect("tokens"));
    let shown = shown.await.expect("an answer");
    assert_eq!(shown.status(), StatusCode::OK);
    let headers = shown.headers().clone();
    assert_eq!(
        (&headers["cache-control"], &headers["referrer-policy"]),
        (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
    );
    let text = shown.text().await.expect("a page");
    assert!(text.contains("Logged in") && !text.contains(SECRET), "{text}");
    let port = back.port().expect("a port");
    TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free again");
}

#[tokio::test]
async fn an_answer_to_another_login_ends_none() {
    let f = Fixture::new().await;
    let mut login = f.begin().await;
    let back = f.page(&login).await;
    for bad in [with(&back, "state", "x"), with(&back, "state", ""), {
        let mut bare = back.clone();
        bare.set_query(Some("code=ac-x"));
        bare
    }] {
        let shown = f.visit(bad).await.expect("an answer");
        assert_eq!(shown.status(), StatusCode::BAD_REQUEST);
    }
    let mut elsewhere = back.clone();
    elsewhere.set_path("/cancel");
    assert_eq!(f.visit(elsewhere).await.expect("an answer").status(), StatusCode::NOT_FOUND);
    let shown = f.visit(back);
    let received = login.received().await.expect("the right one");
    f.check(&login.finish(received).await.expect("tokens"));
    assert_eq!(shown.await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_is_taken_once() {
    let f = Fixture::new().await;
    let mut login = f.begin().await;
    let back = f.page(&login).await;
    let first = f.visit(back.clone());
    let received = login.received().await.expect("a code");
    let second = f.visit(back).await.expect("an answer");
    assert_eq!(second.status(), StatusCode::GONE);
    f.check(&login.finish(received).await.expect("tokens"));
    assert_eq!(first.await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_person_who_declines_is_no_login() {
    let f = Fixture::new().await;
    let mut login = f.begin().await;
    f.fake.person_declines();
    let shown = f.visit(f.page(&login).await);
    let Err(error) = login.received().await else { panic!("declined") };
    assert_eq!(error.to_string(), "the login was not granted (access_denied)");
    assert!(shown.await.expect("an answer").text().await.expect("a page").contains("Not logged in"));
}

#[tokio::test]
async fn a_code_that_the_issuer_does_not_take_is_shown_as_such() {
    let f = Fixture::new().await;
    let mut login = f.begin().await;
    let back = with(&f.page(&login).await, "code", "ac-of-nobody");
    let shown = f.visit(back);
    let received = login.received().await.expect("a code");
    let error = login.finish(received).await.expect_err("not taken");
    assert!(
        matches!(&error, LoginError::Issuer(IssuerError::Refused(Refusal::Other(code))) if code.as_str() == "invalid_grant")
    );
    assert!(!format!("{error:?} {}", cofferdam::error_chain(&error)).contains(SECRET));
    assert_eq!(shown.await.expect("an answer").status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_port_that_is_held_is_said_to_be_and_the_next_one_is_taken() {
    let f = Fixture::new().await;
    let held = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = held.local_addr().expect("an address").port();
    let mut login = Browser::begin_on(&f.issuer, &[port, free_port().await]).await;
    assert!(login.listens());
    let said = login.busy()[0].to_string();
    assert!(
        said.contains(&format!("port {port} is held by")) && said.contains(&std::process::id().to_string()),
        "{said}"
    );
    let shown = f.visit(f.page(&login).await);
    let received = login.received().await.expect("a code");
    f.check(&login.finish(received).await.expect("tokens"));
    shown.await.expect("an answer");
}

#[tokio::test]
async fn without_a_port_the_address_or_the_code_is_pasted() {
    let f = Fixture::new().await;
    let held = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = held.local_addr().expect("an address").port();
    for bare in [false, true] {
        let login = Browser::begin_on(&f.issuer, &[port]).await;
        assert!(!login.listens());
        let back = f.page(&login).await;
        assert_eq!(back.port(), Some(port));
        assert!(matches!(login.pasted(with(&back, "state", "x").as_str()), Err(LoginError::OtherLogin)));
        assert!(matches!(login.pasted("http://127.0.0.1/elsewhere?code=ac"), Err(LoginError::NotACode)));
        let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let text = if bare { code } else { back.to_string() };
        let received = login.pasted(&format!(" {text}\n")).expect("a code");
        f.check(&login.finish(received).await.expect("tokens"));
    }
}

#[tokio::test]
async fn a_code_of_another_login_is_not_taken_even_when_it_is_pasted_bare() {
    let f = Fixture::new().await;
    let (ours, theirs) = (f.begin().await, f.begin().await);
    let back = f.page(&theirs).await;
    let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let received = ours.pasted(&code).expect("a code");
    let error = ours.finish(received).await.expect_err("the verifier is another");
    assert!(matches!(error, LoginError::Issuer(IssuerError::Refused(_))), "{error:?}");
}

#[tokio::test]
async fn a_code_that_is_typed_elsewhere_logs_in() {
    let f = Fixture::new().await;
    let login = Device::begin(&f.issuer).await.expect("a code");
    assert_eq!(login.user_code(), "ABCD-12345");
    assert_eq!(login.page(), format!("{}/codex/device", f.fake.url()));
    assert!(login.ends_in().as_secs() > 800 && !format!("{login:?}").contains(SECRET));
    let waits = tokio::spawn(login.wait());
    eventually("a poll", async || (f.fake.polls() > 0).then_some(())).await;
    f.fake.person(Person::Approves);
    f.check(&waits.await.expect("no panic").expect("tokens"));
}

#[tokio::test]
async fn an_issuer_that_is_asked_too_often_is_asked_less() {
    let f = Fixture::new().await;
    let mut code = f.issuer.device_code().await.expect("a code");
    let before = code.pause;
    f.fake.person(Person::Hurried);
    let poll = f.issuer.poll(&mut code).await.expect("an answer");
    assert!(matches!(poll, cofferdam::vault::issuer::Poll::Pending), "{poll:?}");
    assert_eq!(code.pause, before + std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn a_code_that_is_declined_or_too_old_is_no_login() {
    let f = Fixture::new().await;
    let login = Device::begin(&f.issuer).await.expect("a code");
    f.fake.person(Person::Denies);
    let error = login.wait().await.expect_err("declined");
    assert!(matches!(error, LoginError::Issuer(IssuerError::Refused(Refusal::Denied))), "{error:?}");
    let login = Device::begin(&f.issuer).await.expect("a code");
    f.fake.person(Person::Late);
    assert!(matches!(login.wait().await, Err(LoginError::TooLate)));
}
