//! The app-server's method names, in one place, so that a test can hold them against its schema.

/// The first request.
pub const INITIALIZE: &str = "initialize";
/// The notification after it.
pub const INITIALIZED: &str = "initialized";
/// Makes a thread.
pub const THREAD_START: &str = "thread/start";
/// Opens a thread of an earlier process.
pub const THREAD_RESUME: &str = "thread/resume";
/// Begins a turn.
pub const TURN_START: &str = "turn/start";
/// Stops the running turn.
pub const TURN_INTERRUPT: &str = "turn/interrupt";
/// Gives more input to the running turn.
pub const TURN_STEER: &str = "turn/steer";
/// Ends commands that an interrupted turn left behind.
pub const TERMINALS_CLEAN: &str = "thread/backgroundTerminals/clean";
/// Replaces the history by a summary; answered at once.
pub const COMPACT_START: &str = "thread/compact/start";
/// Shows a thread's latest turns.
pub const TURNS_LIST: &str = "thread/turns/list";
/// Drops a turn and what came after it.
pub const THREAD_REVERT: &str = "thread/revert";
/// Ends a thread and keeps its history apart.
pub const THREAD_ARCHIVE: &str = "thread/archive";
/// Says which commands still run.
pub const TERMINALS_LIST: &str = "thread/backgroundTerminals/list";
/// Names the models.
pub const MODEL_LIST: &str = "model/list";
/// Says what the configuration comes to.
pub const CONFIG_READ: &str = "config/read";
/// Starts MCP servers again that have failed.
pub const MCP_RELOAD: &str = "config/mcpServer/reload";
/// Says how the MCP servers stand.
pub const MCP_STATUS: &str = "mcpServerStatus/list";

/// The only end of a turn.
pub const TURN_COMPLETED: &str = "turn/completed";
/// An item began.
pub const ITEM_STARTED: &str = "item/started";
/// An item is complete.
pub const ITEM_COMPLETED: &str = "item/completed";
/// A piece of an agent's message.
pub const MESSAGE_DELTA: &str = "item/agentMessage/delta";
/// A model call failed; it may be retried.
pub const ERROR: &str = "error";
/// Tokens so far.
pub const TOKEN_USAGE: &str = "thread/tokenUsage/updated";
/// Something that a person should know.
pub const WARNING: &str = "warning";
/// A turn began, also one that nobody asked for by name, such as a compaction's.
pub const TURN_STARTED: &str = "turn/started";
/// How far the account's limits are used up.
pub const RATE_LIMITS: &str = "account/rateLimits/updated";
/// The plan is another.
pub const PLAN_UPDATED: &str = "turn/plan/updated";
/// What the turn has changed in files so far.
pub const DIFF_UPDATED: &str = "turn/diff/updated";
/// An MCP server stands otherwise.
pub const MCP_STARTUP: &str = "mcpServer/startupStatus/updated";

/// Asks whether a command may run.
pub const APPROVE_COMMAND: &str = "item/commandExecution/requestApproval";
/// Asks whether files may change.
pub const APPROVE_FILES: &str = "item/fileChange/requestApproval";
/// Asks for more rights.
pub const APPROVE_PERMISSIONS: &str = "item/permissions/requestApproval";
/// Asks whether a patch may be applied (older name).
pub const APPROVE_PATCH: &str = "applyPatchApproval";
/// Asks whether a command may run (older name).
pub const APPROVE_EXEC: &str = "execCommandApproval";
/// Calls one of the client's tools.
pub const TOOL_CALL: &str = "item/tool/call";
/// Asks the person something.
pub const USER_INPUT: &str = "item/tool/requestUserInput";
/// Asks the person something for an MCP server.
pub const ELICITATION: &str = "mcpServer/elicitation/request";

/// Requests that we send.
pub const REQUESTS: [&str; 16] = [
    INITIALIZE,
    THREAD_START,
    THREAD_RESUME,
    TURN_START,
    TURN_INTERRUPT,
    TERMINALS_CLEAN,
    COMPACT_START,
    TURNS_LIST,
    THREAD_REVERT,
    THREAD_ARCHIVE,
    TURN_STEER,
    TERMINALS_LIST,
    MODEL_LIST,
    CONFIG_READ,
    MCP_RELOAD,
    MCP_STATUS,
];
/// Notifications that we read.
pub const READ: [&str; 12] = [
    TURN_COMPLETED,
    ITEM_STARTED,
    ITEM_COMPLETED,
    MESSAGE_DELTA,
    ERROR,
    TOKEN_USAGE,
    WARNING,
    TURN_STARTED,
    RATE_LIMITS,
    PLAN_UPDATED,
    DIFF_UPDATED,
    MCP_STARTUP,
];
/// Server requests that have an answer other than "unknown".
pub const ANSWERED: [&str; 8] = [
    APPROVE_COMMAND,
    APPROVE_FILES,
    APPROVE_PERMISSIONS,
    APPROVE_PATCH,
    APPROVE_EXEC,
    TOOL_CALL,
    USER_INPUT,
    ELICITATION,
];
/// Notifications that nobody reads and that say nothing about a turn's life.
pub const OPT_OUT: [&str; 11] = [
    "account/updated",
    "configWarning",
    "deprecationNotice",
    "item/fileChange/patchUpdated",
    "remoteControl/status/changed",
    "skills/changed",
    "thread/name/updated",
    "thread/readState/changed",
    "thread/settings/updated",
    "thread/started",
    "thread/status/changed",
];
