"""What people type in the first five minutes, letter by letter: not held out, but it has to work."""

from __future__ import annotations

from training.data.chat import Chat, Expectation, Scene
from training.data.draw import Draw
from training.data.followup import EDIT_OFF
from training.data.intents import BEYOND_ANSWER, INTENTS
from training.data.talk import CANNOT_RUN

HELLO = {"hello.py": 'print("hello")\n'}
CONFIG = {"config.toml": 'name = "demo"\nport = 8080\ndebug = false\n'}
NOTES = {"notes.txt": "milk\neggs\nbread\n"}

Files = dict[str, str]

EDITS: tuple[tuple[tuple[str, ...], Files, Files], ...] = (
    (("create hello.py that prints hello",), {}, HELLO),
    (("Create hello.py that prints hello.",), {}, HELLO),
    (("create a file hello.py that prints hello",), {}, HELLO),
    (("make hello.py that prints hello world",), {}, {"hello.py": 'print("hello world")\n'}),
    (("write a hello world program",), {}, {"hello.py": 'print("Hello, world!")\n'}),
    (("hello world in python",), {}, {"hello.py": 'print("Hello, world!")\n'}),
    (("create a file notes.txt with the text buy milk",), {}, {"notes.txt": "buy milk\n"}),
    (("make a file called todo.txt containing call mom",), {}, {"todo.txt": "call mom\n"}),
    (
        ("create main.py that prints the numbers from 1 to 10",),
        {},
        {"main.py": "for number in range(1, 11):\n    print(number)\n"},
    ),
    (("create math.py with a function add that adds a and b",), {}, {"math.py": "def add(a, b):\n    return a + b\n"}),
    (
        ("create config.json with name bob and port 8080",),
        {},
        {"config.json": '{\n  "name": "bob",\n  "port": 8080\n}\n'},
    ),
    (("create shopping.txt with milk, eggs and bread, one per line",), {}, {"shopping.txt": "milk\neggs\nbread\n"}),
    (("create README.md with the title My Project",), {}, {"README.md": "# My Project\n"}),
    (("create an empty file test.py",), {}, {"test.py": ""}),
    (("change hello to goodbye in hello.py",), HELLO, {"hello.py": 'print("goodbye")\n'}),
    (("replace hello with bye in hello.py",), HELLO, {"hello.py": 'print("bye")\n'}),
    (("set port to 9090 in config.toml",), CONFIG, {"config.toml": 'name = "demo"\nport = 9090\ndebug = false\n'}),
    (
        ("change the port to 3000 in config.toml",),
        CONFIG,
        {"config.toml": 'name = "demo"\nport = 3000\ndebug = false\n'},
    ),
    (("add butter to notes.txt",), NOTES, {"notes.txt": "milk\neggs\nbread\nbutter\n"}),
    (("remove eggs from notes.txt",), NOTES, {"notes.txt": "milk\nbread\n"}),
    (("delete hello.py",), HELLO, {}),
    (("rm notes.txt",), NOTES, {}),
    (("rename hello.py to world.py",), HELLO, {"world.py": 'print("hello")\n'}),
    (("move notes.txt to docs/notes.txt",), NOTES, {"docs/notes.txt": "milk\neggs\nbread\n"}),
    (("create hello.py that prints hello", "now make it print goodbye"), {}, {"hello.py": 'print("goodbye")\n'}),
    (("create hello.py that prints hello", "delete it"), {}, {}),
    (("create hello.py that prints hello", "rename it to hi.py"), {}, {"hi.py": 'print("hello")\n'}),
    (("hi", "create hello.py that prints hello", "also print bye"), {}, {"hello.py": 'print("hello")\nprint("bye")\n'}),
    (("thanks", "create bye.py that prints bye"), {}, {"bye.py": 'print("bye")\n'}),
)

LOOKS: tuple[tuple[str, Files, str, tuple[str, ...]], ...] = (
    ("list files", HELLO | NOTES, "list_files", ("hello.py", "notes.txt")),
    ("what files are here?", HELLO | CONFIG, "list_files", ("config.toml", "hello.py")),
    ("ls", HELLO, "list_files", ("hello.py",)),
    ("show me hello.py", HELLO, "read_file", ('print("hello")',)),
    ("cat notes.txt", NOTES, "read_file", ("milk\neggs\nbread",)),
    ("what port is set in config.toml?", CONFIG, "read_file", ("8080",)),
    ("where is hello used?", HELLO, "search_files", ("hello.py", "line 1")),
)

TOPICS: tuple[tuple[str, str], ...] = (
    ("hi", "A greeting"),
    ("hello", "A greeting"),
    ("hey there", "A greeting"),
    ("how are you?", "How I am"),
    ("who are you?", "Who I am"),
    ("what can you do?", "What I can do"),
    ("help", "What I can do"),
    ("thanks", "Thanks"),
    ("thank you!", "Thanks"),
    ("what model are you?", "Which model I am"),
    ("how do I quit?", "Quitting"),
    ("how do i start a new conversation?", "A new conversation"),
    ("what are the keys?", "The keys"),
    ("how do I interrupt you?", "Interrupting"),
    ("how do I get gpt-oss-20b?", "Bigger models"),
    ("tell me a joke", "A joke"),
    ("bye", "Goodbye"),
    ("create a file", "Something is missing"),
)

ANSWERS: tuple[tuple[str, str], ...] = (
    ("write a poem about the sea", BEYOND_ANSWER),
    ("what is the capital of France?", BEYOND_ANSWER),
    ("write me a story", BEYOND_ANSWER),
    ("fix the bug in main.py", BEYOND_ANSWER),
    ("run hello.py", CANNOT_RUN),
    ("what is 2+2?", "2 + 2 = 4"),
)


def trial_chats() -> list[Chat]:
    """Every trial as a conversation whose users' messages are to be sent."""
    chats = [
        _chat(prompts, Expectation(before, after, tool="functions.apply_patch")) for prompts, before, after in EDITS
    ]
    chats += [
        _chat((prompt,), Expectation(files, tool=f"functions.{tool}", answer_has=parts))
        for prompt, files, tool, parts in LOOKS
    ]
    answers = {intent.topic: intent.answer for intent in INTENTS}
    chats += [_chat((prompt,), Expectation(answer=answers[topic])) for prompt, topic in TOPICS]
    chats += [_chat((prompt,), Expectation(answer=answer)) for prompt, answer in ANSWERS]
    off = _chat(("create hello.py that prints hello",), Expectation(answer=EDIT_OFF), Scene(files=False))
    return [*chats, off]


def _chat(prompts: tuple[str, ...], expectation: Expectation, scene: Scene | None = None) -> Chat:
    chat = Chat(scene or Scene(), Draw(0), "trial", expectation=expectation)
    for prompt in prompts:
        chat.user(prompt)
    return chat
