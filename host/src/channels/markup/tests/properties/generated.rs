//! Markdown whose visible words are known.

use proptest::prelude::*;

/// A text, and the words that people see of it, in their order.
#[derive(Clone)]
pub struct Document {
    pub markdown: String,
    pub words: Vec<String>,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.markdown)
    }
}

#[derive(Debug, Clone)]
enum Inline {
    Words(usize),
    Code,
    Marked(&'static str, Vec<Inline>),
    Link(&'static str, Vec<Inline>),
    Image,
}

#[derive(Debug, Clone)]
enum Block {
    Paragraph(Vec<Inline>),
    Heading(Vec<Inline>),
    List { ordered: bool, items: Vec<Vec<Block>> },
    Quote(Vec<Block>),
    Code { language: &'static str, lines: usize },
    Table { rows: usize },
    Rule,
}

pub fn document() -> impl Strategy<Value = Document> {
    prop::collection::vec(block(), 0..8).prop_map(|blocks| {
        let mut writer = Writer::default();
        let markdown = writer.blocks(&blocks);
        Document { markdown, words: writer.words }
    })
}

fn inline() -> impl Strategy<Value = Inline> {
    let leaf =
        prop_oneof![4 => (1usize..12).prop_map(Inline::Words), 1 => Just(Inline::Code), 1 => Just(Inline::Image)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let inner = prop::collection::vec(inner, 1..4);
        let address = prop::sample::select(vec![
            "http://a.b/?c=1&d",
            "tg://user?id=1",
            "javascript:x",
            "../c.rs",
            "HTTPS://x",
        ]);
        prop_oneof![
            (prop::sample::select(vec!["**", "*", "~~"]), inner.clone())
                .prop_map(|(mark, inner)| Inline::Marked(mark, inner)),
            (address, inner).prop_map(|(address, inner)| Inline::Link(address, inner)),
        ]
    })
}

fn block() -> impl Strategy<Value = Block> {
    let language = prop::sample::select(vec!["", "rust", "c++", "../../x", "\"><b>", "py title=\"a\""]);
    let line = || prop::collection::vec(inline(), 1..5);
    let leaf = prop_oneof![
        4 => line().prop_map(Block::Paragraph),
        1 => line().prop_map(Block::Heading),
        2 => (language, 1usize..12).prop_map(|(language, lines)| Block::Code { language, lines }),
        1 => (0usize..5).prop_map(|rows| Block::Table { rows }),
        1 => Just(Block::Rule),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let inner = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            2 => (any::<bool>(), prop::collection::vec(inner(), 1..4))
                .prop_map(|(ordered, items)| Block::List { ordered, items }),
            1 => inner().prop_map(Block::Quote),
        ]
    })
}

#[derive(Default)]
struct Writer {
    words: Vec<String>,
}

impl Writer {
    fn word(&mut self) -> String {
        let word = format!("w{}", self.words.len());
        self.words.push(word.clone());
        word
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn blocks(&mut self, blocks: &[Block]) -> String {
        // A list after a list would be the same list, and its numbers go on.
        let texts: Vec<String> = blocks.iter().map(|block| self.block(block)).collect();
        texts.join("\n\n")
    }

    fn block(&mut self, block: &Block) -> String {
        match block {
            Block::Paragraph(inlines) => self.inlines(inlines),
            Block::Heading(inlines) => format!("## {}", self.inlines(inlines)),
            Block::Rule => "---".to_owned(),
            Block::Quote(blocks) => prefixed(&self.blocks(blocks), "> ", "> "),
            Block::List { ordered, items } => {
                let (sign, rest) = if *ordered { ("1. ", "   ") } else { ("- ", "  ") };
                let items: Vec<String> =
                    items.iter().map(|item| prefixed(&self.blocks(item), sign, rest)).collect();
                items.join("\n")
            }
            Block::Code { language, lines } => {
                let lines: Vec<String> = (0..*lines).map(|_| format!("  {} <&>", self.words(3))).collect();
                format!("```{language}\n{}\n```", lines.join("\n"))
            }
            Block::Table { rows } => {
                let mut row = || format!("| {} | **{}** |", self.words(1), self.words(2));
                let head = row();
                let rows: Vec<String> = (0..*rows).map(|_| row()).collect();
                format!("{head}\n|---|--:|\n{}", rows.join("\n"))
            }
        }
    }

    fn inlines(&mut self, inlines: &[Inline]) -> String {
        inlines.iter().map(|inline| self.inline(inline)).collect::<Vec<_>>().join(" ")
    }

    fn inline(&mut self, inline: &Inline) -> String {
        match inline {
            Inline::Words(count) => self.words(*count),
            Inline::Code => format!("`{}`", self.words(2)),
            Inline::Image => format!("![{}](http://a.b/c.png)", self.words(2)),
            // A row of them at a line's start is a fence.
            Inline::Marked("~~", inner) => format!("~~{} {}~~", self.word(), self.inlines(inner)),
            Inline::Marked(mark, inner) => format!("{mark}{}{mark}", self.inlines(inner)),
            Inline::Link(address, inner) => format!("[{}]({address})", self.inlines(inner)),
        }
    }
}

/// A text with something before its first line, and before each of its others.
fn prefixed(text: &str, first: &str, rest: &str) -> String {
    let lines = text.lines().enumerate().map(|(at, line)| format!("{}{line}", if at == 0 { first } else { rest }));
    lines.collect::<Vec<_>>().join("\n")
}
