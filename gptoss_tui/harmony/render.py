"""Renders messages to tokens, exactly as openai-harmony does.

Only this module writes special ids. Every piece of text is encoded as ordinary text, so nothing in a user's message, a
file or a web page can become a control token.
"""

from __future__ import annotations

from gptoss_tui.errors import HarmonyError
from gptoss_tui.harmony.messages import (
    DeveloperContent,
    Message,
    Preamble,
    ResponseFormat,
    SystemContent,
    ToolNamespace,
)
from gptoss_tui.harmony.tokenizer import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, SPECIAL_TOKENS, START, Tokenizer
from gptoss_tui.harmony.typescript import lines_of, to_typescript

_CONSTRAIN_TEXT = SPECIAL_TOKENS[CONSTRAIN]


def render_system(content: SystemContent, has_functions: bool) -> str:
    """The text of the system message. `has_functions`: the developer message declares function tools."""
    facts = [content.model_identity]
    if content.knowledge_cutoff is not None:
        facts.append(f"Knowledge cutoff: {content.knowledge_cutoff}")
    if content.current_date is not None:
        facts.append(f"Current date: {content.current_date}")
    sections = ["\n".join(facts), f"Reasoning: {content.effort}"]
    if content.tools:
        sections.append(render_tools(content.tools))
    if content.valid_channels:
        channels = ", ".join(content.valid_channels)
        line = f"# Valid channels: {channels}. Channel must be included for every message."
        if has_functions:
            line += "\nCalls to these tools must go to the commentary channel: 'functions'."
        sections.append(line)
    return "\n\n".join(sections)


def render_developer(content: DeveloperContent) -> str:
    """The text of the developer message: instructions, then the function tools, then the form of answers."""
    sections = []
    if content.instructions is not None:
        sections += ["# Instructions", content.instructions]
    if content.functions is not None:
        sections.append(render_tools((content.functions,)))
    if content.response_format is not None:
        sections.append(_response_format(content.response_format))
    return "\n\n".join(sections)


def _response_format(form: ResponseFormat) -> str:
    described = [f"// {line}" for line in lines_of(form.description)] if form.description else []
    return "\n\n".join(("# Response Formats", f"## {form.name}", "\n".join((*described, form.schema))))


def render_tools(namespaces: tuple[ToolNamespace, ...]) -> str:
    """The `# Tools` section, namespaces in alphabetical order."""
    return "\n\n".join(("# Tools", *(_namespace(n) for n in sorted(namespaces, key=lambda n: n.name))))


def _namespace(namespace: ToolNamespace) -> str:
    lines = [f"## {namespace.name}", ""]
    described = lines_of(namespace.description) if namespace.description else []
    if not namespace.functions:
        return "\n".join((*lines, *described))
    lines += [f"// {line}" for line in described]
    lines += [f"namespace {namespace.name} {{", ""]
    for function in namespace.functions:
        if function.description:
            lines += [f"// {line}" for line in lines_of(function.description)]
        argument = "" if function.parameters is None else f"_: {to_typescript(function.parameters)}"
        lines += [f"type {function.name} = ({argument}) => any;", ""]
    return "\n".join((*lines, f"}} // namespace {namespace.name}"))


def render_message(tokenizer: Tokenizer, message: Message) -> list[int]:
    """All tokens of one message, from `<|start|>` to `<|end|>` (or `<|call|>` for a call by the assistant).

    Raises HarmonyError for a tool message without the tool's name.
    """
    is_call = message.role == "assistant" and message.recipient not in (None, "all")
    tokens = render_header(tokenizer, message)
    tokens += tokenizer.encode(message.content)
    tokens.append(CALL if is_call else END)
    return tokens


def render_header(tokenizer: Tokenizer, message: Message) -> list[int]:
    """The tokens from `<|start|>` to `<|message|>`. The recipient stands before the channel."""
    tokens = [START, *tokenizer.encode(_author(message))]
    if message.recipient not in (None, "all"):
        tokens += tokenizer.encode(f" to={message.recipient}")
    if message.channel is not None:
        tokens += [CHANNEL, *tokenizer.encode(message.channel)]
    if message.content_type is not None:
        tokens += _content_type(tokenizer, message.content_type)
    tokens.append(MESSAGE)
    return tokens


def _author(message: Message) -> str:
    if message.role == "tool":
        if not message.name:
            raise HarmonyError("A tool message has no tool name", hint="set `name` to the tool that replies")
        return message.name
    return f"{message.role}:{message.name}" if message.name else message.role


def _content_type(tokenizer: Tokenizer, content_type: str) -> list[int]:
    if content_type.startswith(_CONSTRAIN_TEXT):
        rest = content_type.removeprefix(_CONSTRAIN_TEXT)
        return [*tokenizer.encode(" "), CONSTRAIN, *tokenizer.encode(rest)]
    return tokenizer.encode(f" {content_type}")


def preamble_messages(preamble: Preamble) -> tuple[Message, ...]:
    """The system message and, if there is one, the developer message."""
    developer = preamble.developer
    has_functions = developer is not None and developer.functions is not None and bool(developer.functions.functions)
    system = Message("system", render_system(preamble.system, has_functions))
    if developer is None:
        return (system,)
    return system, Message("developer", render_developer(developer))


def render_preamble(tokenizer: Tokenizer, preamble: Preamble) -> list[int]:
    """The tokens of the system and developer messages."""
    return [token for message in preamble_messages(preamble) for token in render_message(tokenizer, message)]


def assistant_start(tokenizer: Tokenizer) -> list[int]:
    """`<|start|>assistant`, the end of every prompt. The model writes the rest of the header itself."""
    return [START, *tokenizer.encode("assistant")]
