"""The families of programs, from a web page to the classics, with names, texts and numbers from the request."""

from __future__ import annotations

import re
from collections.abc import Callable

from training.data.classics import CLASSICS
from training.data.definitions import (
    class_with_method,
    condition,
    data_class,
    function,
    greet_function,
    pytest_test,
    variables,
)
from training.data.draw import Draw, text_lines
from training.data.phrasing import and_list, say, wordings
from training.data.programs import MAKE, NAMED, Program, print_many, print_text, quoted


def web_page(draw: Draw) -> Program:
    """An HTML page with a title and perhaps a paragraph."""
    path = "index.html" if draw.chance(0.5) else draw.path("html")
    title = draw.phrase(1, 3).rstrip(".!?")
    text = draw.phrase(2, 6) if draw.chance(0.4) else ""
    request = say(
        draw,
        wordings("programs", "web_page"),
        polite=True,
        f=path,
        x=quoted(draw, title),
        t=f" and the text {quoted(draw, text)}" if text else "",
    )
    lines = ["<!DOCTYPE html>", "<html>", "<head>", f"  <title>{title}</title>", "</head>", "<body>"]
    lines += [f"  <h1>{title}</h1>", *([f"  <p>{text}</p>"] if text else []), "</body>", "</html>"]
    return Program(path, lines, request, f"with the title {title}", title + text)


def style_sheet(draw: Draw) -> Program:
    """A CSS rule."""
    path = draw.choice(("style.css", "styles.css", "main.css")) if draw.chance(0.6) else draw.path("css")
    selector = draw.choice(("body", "body", "h1", "p", "a", "button", "." + draw.short_word(), "header"))
    color = draw.choice(text_lines("colors"))
    prop, spoken = draw.choice((("background-color", "background"), ("color", "color"), ("color", "text color")))
    request = say(draw, wordings("programs", "style_sheet"), polite=True, f=path, s=selector, c=color, p=spoken)
    return Program(
        path,
        [f"{selector} {{", f"  {prop}: {color};", "}"],
        request,
        f"with {spoken} {color} for {selector}",
        f"{selector}|{color}",
    )


def list_program(draw: Draw) -> Program:
    """A list of words and a loop that prints it."""
    path, name = draw.path("py"), draw.choice(("items", "names", "words", draw.noun() + "s"))
    items = list(dict.fromkeys(draw.thing() for _ in range(draw.between(2, 5))))
    request = say(draw, wordings("programs", "list_program"), polite=True, f=path, n=name, x=and_list(items))
    literal = ", ".join(f'"{i}"' for i in items)
    lines = [f"{name} = [{literal}]", f"for item in {name}:", "    print(item)"]
    return Program(path, lines, request, f"that prints {and_list(items)}", f"{name}|{items}")


def read_text(draw: Draw) -> Program:
    """Read another file and print it, whole or line by line."""
    path, other = draw.path("py"), draw.path(draw.choice(("txt", "csv", "md", "log")))
    by_line = draw.chance(0.4)
    request = say(
        draw,
        (
            f"{MAKE} {NAMED}{{f}} that reads {{o}} and prints {{w}}",
            f"{MAKE} {{f}} that opens {{o}} and prints {{w}}",
            f"{MAKE} {{f}} to read {{o}} and print {{w}}",
            f"{MAKE} {{f}} which prints {{w}} of {{o}}"
            if by_line
            else f"{MAKE} {{f}} that prints the content of {{o}}",
        ),
        polite=True,
        f=path,
        o=other,
        w="every line" if by_line else draw.choice(("it", "its content")),
    )
    lines = [f'with open("{other}") as file:']
    lines += ["    for line in file:", "        print(line.rstrip())"] if by_line else ["    print(file.read())"]
    return Program(path, lines, request, f"that reads {other}", other)


def write_text(draw: Draw) -> Program:
    """Write a text to another file."""
    path, other, text = draw.path("py"), draw.path("txt"), draw.phrase(1, 4)
    request = say(draw, wordings("programs", "write_text"), polite=True, f=path, o=other, x=quoted(draw, text))
    lines = [f'with open("{other}", "w") as file:', f'    file.write("{text}\\n")']
    return Program(path, lines, request, f"that writes {text} to {other}", f"{other}|{text}")


def ask_input(draw: Draw) -> Program:
    """Ask for something and greet or echo."""
    path, what = draw.path("py"), draw.choice(("name", "name", "age", "city", "color", draw.noun()))
    request = say(draw, wordings("programs", "ask_input"), polite=True, f=path, w=what)
    lines = [f'{what} = input("{what}: ")', f"print({what})"]
    return Program(path, lines, request, f"that asks for the {what} and prints it", what)


def argparse_program(draw: Draw) -> Program:
    """A command line with one argument."""
    path, name = draw.path("py"), draw.noun()
    request = say(draw, wordings("programs", "argparse_program"), polite=True, f=path, n=name)
    lines = ["import argparse", "", "parser = argparse.ArgumentParser()", f'parser.add_argument("{name}")']
    lines += ["args = parser.parse_args()", f"print(args.{name})"]
    return Program(path, lines, request, f"that prints its argument {name}", name)


def classic(draw: Draw) -> Program:
    """A well-known program, with a file name or its usual one."""
    known = draw.choice(CLASSICS)
    names, usual, lines = known.names, known.path, list(known.lines)
    what = draw.choice(names)
    fixed = not usual.endswith(".py")
    named = not fixed and draw.chance(0.55)
    path = draw.path("py") if named and draw.chance(0.6) else usual
    words = "[a |an |]" if what[0] in "aeiou" else "[a |]"
    templates = (
        (
            f"{MAKE} {words}{{w}} in {{f}}",
            f"{MAKE} {{f}} with {words}{{w}}",
            f"{MAKE} {words}{{w}} [program |script |]called {{f}}",
            f"{MAKE} {{f}}: {{w}}",
            "put a {w} in {f}",
            f"{MAKE} {{f}} [for|that does] {{w}}",
        )
        if named
        else (
            f"{MAKE} {words}{{w}}",
            f"{MAKE} {words}{{w}}" if fixed else f"{MAKE} {words}{{w}} [program|script|in python]",
            f"{MAKE} [me |]{words}{{w}}",
            "[code|write|show me] {w}",
            "i want [a |]{w}",
            "[can you write|write] [a |]{w} for me",
            "{w}" if fixed else "{w} in python",
            "{w} please",
        )
    )
    article = "" if what in ("fizzbuzz", "rock paper scissors", "fibonacci") else "a "
    request = say(draw, templates, polite=True, f=path, w=what)
    return Program(path, lines, request, f"with {article}{names[0]}", re.sub(r"\W", "", what))


FAMILIES: tuple[Callable[[Draw], Program], ...] = (
    print_text,
    print_many,
    function,
    function,
    function,
    greet_function,
    data_class,
    class_with_method,
    web_page,
    web_page,
    style_sheet,
    variables,
    list_program,
    read_text,
    write_text,
    ask_input,
    argparse_program,
    pytest_test,
    condition,
    classic,
    classic,
    classic,
)
