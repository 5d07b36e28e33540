//! What typical replies of an agent look like.

use super::*;

const CHANGE: &str = r###"I fixed the **race** in `Pool::take` and added a test.

## What was wrong
`take()` looked at `len` *before* it locked, see [pool.rs](src/pool.rs#L42) and [the docs](https://docs.rs/x?a=1&b=2).

- two threads could get the same slot
  - only under load
- ~~a leak~~ no leak after all

```rust,no_run
let slot = self.slots.lock()?.pop().filter(|s| s.id < MAX && !s.used);
```

1. Run `cargo test`
2. Look at <target/report.html>
"###;

const STATUS: &str = r###"# Status

- [x] parser
- [ ] docs

| Suite | Passed | Time |
|:------|-------:|:----:|
| unit  | 412    | 3 s  |
| `e2e` | 38     | 210 s |

> Note: the second suite needs Docker.
>
> > As you said.

---

| File | What changed in it, in some more words than fit | Where |
|---|---|---|
| a.rs | the **lock** | [diff](https://x.y/1) |
| b.rs | | [diff](https://x.y/2) |

Thanks to ![the logo](https://x.y/l.png) and <me@x.org>.[^1]

[^1]: Measured on my machine.
"###;

#[test]
fn a_report_of_a_change_in_telegram() {
    insta::assert_snapshot!(shown(&telegram(CHANGE, 4096)), @r#"
    I fixed the <b>race</b> in <code>Pool::take</code> and added a test.

    <b>What was wrong</b>

    <code>take()</code> looked at <code>len</code> <i>before</i> it locked, see pool.rs (src/pool.rs#L42) and <a href="https://docs.rs/x?a=1&amp;b=2">the docs</a>.

    • two threads could get the same slot
      • only under load
    • <s>a leak</s> no leak after all

    <pre><code class="language-rust">let slot = self.slots.lock()?.pop().filter(|s| s.id &lt; MAX &amp;&amp; !s.used);</code></pre>

    1. Run <code>cargo test</code>
    2. Look at &lt;target/report.html&gt;
    "#);
}

#[test]
fn a_status_in_telegram() {
    insta::assert_snapshot!(shown(&telegram(STATUS, 4096)), @r#"
    <b>Status</b>

    ☑ parser
    ☐ docs

    <pre>Suite | Passed | Time
    ------+--------+------
    unit  |    412 |  3 s
    e2e   |     38 | 210 s</pre>

    <blockquote>Note: the second suite needs Docker.

    &gt; As you said.</blockquote>

    ———

    <b>File</b>: a.rs
    <b>What changed in it, in some more words than fit</b>: the <b>lock</b>
    <b>Where</b>: <a href="https://x.y/1">diff</a>

    <b>File</b>: b.rs
    <b>Where</b>: <a href="https://x.y/2">diff</a>

    Thanks to <a href="https://x.y/l.png">the logo</a> and me@x.org.[1]

    [1] Measured on my machine.
    "#);
}

#[test]
fn a_report_of_a_change_in_plain_words() {
    insta::assert_snapshot!(shown(&plain(CHANGE, 400, Measure::Bytes)), @r#"
    I fixed the race in Pool::take and added a test.

    What was wrong

    take() looked at len before it locked, see pool.rs (src/pool.rs#L42) and the docs (https://docs.rs/x?a=1&b=2).

    • two threads could get the same slot
      • only under load
    • a leak no leak after all

    let slot = self.slots.lock()?.pop().filter(|s| s.id < MAX && !s.used);

    1. Run cargo test
    2. Look at <target/report.html>
    "#);
}

#[test]
fn a_status_in_plain_words() {
    insta::assert_snapshot!(shown(&plain(STATUS, 4096, Measure::Bytes)), @r#"
    Status

    ☑ parser
    ☐ docs

    Suite | Passed | Time
    ------+--------+------
    unit  |    412 |  3 s
    e2e   |     38 | 210 s

    > Note: the second suite needs Docker.

    > > As you said.

    ———

    File: a.rs
    What changed in it, in some more words than fit: the lock
    Where: diff (https://x.y/1)

    File: b.rs
    Where: diff (https://x.y/2)

    Thanks to the logo (https://x.y/l.png) and me@x.org.[1]

    [1] Measured on my machine.
    "#);
}

#[test]
fn a_report_in_short_messages() {
    insta::assert_snapshot!(shown(&telegram(CHANGE, 60)), @r#"
    I fixed the <b>race</b> in <code>Pool::take</code> and added a test.
    --------
    <b>What was wrong</b>
    --------
    <code>take()</code> looked at <code>len</code> <i>before</i> it locked, see pool.rs
    --------
    (src/pool.rs#L42) and <a href="https://docs.rs/x?a=1&amp;b=2">the docs</a>.
    --------
    • two threads could get the same slot
      • only under load
    --------
    • <s>a leak</s> no leak after all
    --------
    [code-1.rs: 71 bytes]
    --------
    1. Run <code>cargo test</code>
    2. Look at &lt;target/report.html&gt;
    "#);
}

#[test]
fn a_report_in_short_messages_of_markdown() {
    insta::assert_snapshot!(shown(&markdown(CHANGE, 120, Measure::Chars)), @r#"
    I fixed the **race** in `Pool::take` and added a test.

    ## What was wrong
    --------
    `take()` looked at `len` *before* it locked, see [pool.rs](src/pool.rs#L42) and [the docs](https://docs.rs/x?a=1&b=2).
    --------
    - two threads could get the same slot
      - only under load
    - ~~a leak~~ no leak after all
    --------
    ```rust,no_run
    let slot = self.slots.lock()?.pop().filter(|s| s.id < MAX && !s.used);
    ```
    --------
    1. Run `cargo test`
    2. Look at <target/report.html>
    "#);
}
