"""Small programs of known families, with names, texts and numbers from the request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from training.data.classics import CLASSICS
from training.data.draw import Draw, text_lines
from training.data.phrasing import and_list, say

MAKE = "[create|create|create|make|write|add]"
NAMED = "[|a file |a new file |a script |a program |a file called |a python file |a script called |a python script ]"
THAT = "[that|that|which|it should|to]"


@dataclass(frozen=True, slots=True)
class Program:
    """A file to create: `purpose` goes on a sentence (`that prints hello`), `key` is what it combines."""

    path: str
    lines: list[str]
    request: str
    purpose: str
    key: str


def quoted(draw: Draw, text: str) -> str:
    """`text` as people put it into a request: mostly bare, sometimes in quotes."""
    u = draw.rng.random()
    return text if u < 0.7 else f'"{text}"' if u < 0.88 else f"'{text}'"


PRINTERS: dict[str, Callable[[str], list[str]]] = {
    "py": lambda x: [f'print("{x}")'],
    "js": lambda x: [f'console.log("{x}");'],
    "ts": lambda x: [f'console.log("{x}");'],
    "sh": lambda x: ["#!/bin/bash", f'echo "{x}"'],
    "rb": lambda x: [f'puts "{x}"'],
    "php": lambda x: ["<?php", f'echo "{x}\\n";'],
    "lua": lambda x: [f'print("{x}")'],
    "pl": lambda x: [f'print "{x}\\n";'],
    "c": lambda x: ["#include <stdio.h>", "", "int main(void) {", f'    printf("{x}\\n");', "    return 0;", "}"],
    "cpp": lambda x: ["#include <iostream>", "", "int main() {", f'    std::cout << "{x}" << std::endl;', "}"],
    "rs": lambda x: ["fn main() {", f'    println!("{x}");', "}"],
    "go": lambda x: ["package main", "", 'import "fmt"', "", "func main() {", f'    fmt.Println("{x}")', "}"],
    "java": lambda x: [
        "public class Main {",
        "    public static void main(String[] args) {",
        f'        System.out.println("{x}");',
        "    }",
        "}",
    ],
}
LANGUAGES = {
    "py": ("python",),
    "js": ("javascript", "js", "node"),
    "ts": ("typescript",),
    "sh": ("bash", "shell"),
    "rb": ("ruby",),
    "php": ("php",),
    "lua": ("lua",),
    "pl": ("perl",),
    "c": ("c",),
    "cpp": ("c++", "cpp"),
    "rs": ("rust",),
    "go": ("go", "golang"),
    "java": ("java",),
}


def default_path(language: str, text: str) -> str:
    """Where a program goes when nobody said: hello.* for greetings, main.* for the rest."""
    if language == "java":
        return "Main.java"
    return f"{'hello' if text.lower().startswith('hello') else 'main'}.{language}"


def print_text(draw: Draw) -> Program:
    """The first program of everybody: print a text."""
    text = draw.choice(("hello", "hello", "hello world", "Hello World", "Hello, World!", "hello world!", "hi"))
    if draw.chance(0.85):
        text = draw.message()
    language = "py" if draw.chance(0.72) else draw.choice(tuple(PRINTERS))
    if draw.chance(0.25):
        return _print_unnamed(draw, language, text)
    path = draw.path(language) if language != "java" else "Main.java"
    if draw.chance(0.4 if text.lower().startswith(("hello", "hi")) else 0.08):
        path = f"hello.{language}" if language != "java" else path
    request = say(
        draw,
        (
            f"{MAKE} {NAMED}{{f}} {THAT} [print|prints] {{x}}",
            f"{MAKE} {{f}} that prints {{x}}",
            f"{MAKE} {NAMED}{{f}} that prints {{x}}",
            f"{MAKE} {{f}} printing {{x}}",
            f"{MAKE} {{f}} which prints {{x}}",
            f"{MAKE} {{f}} to print {{x}}",
            f"{MAKE} {NAMED}{{f}}, it should print {{x}}",
            f"{MAKE} {NAMED}{{f}} that [says|outputs|shows|displays|writes] {{x}}",
            f"{MAKE} {NAMED}{{f}} that prints the text {{x}}",
            f"{MAKE} {{f}} and make it print {{x}}",
            f"{MAKE} {{f}} so that it prints {{x}}",
            f"{MAKE} {{f}}: print {{x}}",
            "{f} should print {x}",
            "new file {f} that prints {x}",
            "i need {f} that prints {x}",
            "i want a [script|program|file] {f} that prints {x}",
            "give me a [script|program] {f} that prints {x}",
            "let's make {f} that prints {x}",
            "print {x} in {f}",
            "a script {f} that prints {x}",
        ),
        polite=True,
        f=path,
        x=quoted(draw, text),
    )
    return Program(path, PRINTERS[language](text), request, f"that prints {text}", text)


def _print_unnamed(draw: Draw, language: str, text: str) -> Program:
    word = draw.choice(LANGUAGES[language])
    if draw.chance(0.35):
        text = "Hello, world!"
        templates: tuple[str, ...] = (
            "hello world in {l}",
            "hello world in {l}",
            "[write|create|make] a hello world [program |script |]in {l}",
            "[write|create|make] a {l} hello world",
            "[write|create|make|show me|give me] hello world in {l}",
            "{l} hello world",
            "[write|make] a hello world {l} [program|script]",
        )
        if language == "py" and draw.chance(0.5):
            word = ""
            templates = (
                "hello world",
                "[write|create|make] [a |]hello world",
                "[write|create|make] a hello world [program|script|app|file|example]",
                "[write|create|make] a [program|script] that prints hello world",
                "print hello world",
                "[write|create|make] a simple [program|script]",
                "hello world program",
            )
    else:
        templates = (
            f"{MAKE} a {{l}} [script|program|file] that prints {{x}}",
            f"{MAKE} a {{l}} [script|program] that [says|outputs|shows] {{x}}",
            f"{MAKE} a {{l}} [script|program] to print {{x}}",
            "print {x} in {l}",
            "[write|make] {l} code that prints {x}",
            "a {l} [script|program] that prints {x}",
        )
        if language == "py" and draw.chance(0.5):
            word = ""
            templates = (f"{MAKE} a [script|program] that prints {{x}}", f"{MAKE} a program to print {{x}}")
        if language == "py":
            templates = (*templates, f"{MAKE} a [script|program] that prints {{x}}")
    path = default_path(language, text)
    request = say(draw, templates, polite=True, l=word, x=quoted(draw, text))
    return Program(path, PRINTERS[language](text), request, f"that prints {text}", f"{word}|{text}")


def print_many(draw: Draw) -> Program:
    """Print a text several times, or a range of numbers."""
    path = draw.path("py")
    if draw.chance(0.5):
        text, count = draw.message(), str(draw.between(2, 20) if draw.chance(0.8) else draw.between(21, 500))
        request = say(
            draw,
            (
                f"{MAKE} {NAMED}{{f}} that prints {{x}} {{n}} times",
                f"{MAKE} {{f}} printing {{x}} {{n}} times",
                f"{MAKE} {{f}} with a loop that prints {{x}} {{n}} times",
                "{f} should print {x} {n} times",
                f"{MAKE} {{f}} that repeats {{x}} {{n}} times",
                "print {x} {n} times in {f}",
            ),
            polite=True,
            f=path,
            x=quoted(draw, text),
            n=count,
        )
        lines = [f"for _ in range({count}):", f'    print("{text}")']
        return Program(path, lines, request, f"that prints {text} {count} times", f"{text}|{count}")
    low, high = draw.choice((0, 1, 1, 1, 5, 10)), draw.choice((3, 5, 10, 10, 20, 30, 50, 99, 100, 1000))
    high = max(high, low + 2) if draw.chance(0.7) else low + draw.between(2, 60)
    if draw.chance(0.3):
        path = "count.py"
        request = say(
            draw,
            (
                "count from {a} to {b}",
                f"{MAKE} a [script|program] that counts from {{a}} to {{b}}",
                f"{MAKE} a [python |]script that prints the numbers from {{a}} to {{b}}",
                "print the numbers from {a} to {b}",
                f"{MAKE} a loop from {{a}} to {{b}}",
            ),
            polite=True,
            a=str(low),
            b=str(high),
        )
        return Program(
            path, _count_lines(low, high), request, f"that prints the numbers from {low} to {high}", f"{low}-{high}"
        )
    request = say(
        draw,
        (
            f"{MAKE} {NAMED}{{f}} that prints the numbers from {{a}} to {{b}}",
            f"{MAKE} {{f}} that counts from {{a}} to {{b}}",
            f"{MAKE} {{f}} that prints numbers {{a}} to {{b}}",
            f"{MAKE} {{f}} with a loop from {{a}} to {{b}}",
            "count from {a} to {b} in {f}",
            f"{MAKE} {{f}} which prints {{a}} to {{b}}",
        ),
        polite=True,
        f=path,
        a=str(low),
        b=str(high),
    )
    return Program(
        path, _count_lines(low, high), request, f"that prints the numbers from {low} to {high}", f"{low}-{high}"
    )


def _count_lines(low: int, high: int) -> list[str]:
    return [f"for number in range({low}, {high + 1}):", "    print(number)"]


OPERATIONS = {
    "sum": ("+", ("adds", "sums", "returns the sum of")),
    "product": ("*", ("multiplies", "returns the product of")),
    "difference": ("-", ("subtracts", "returns the difference of")),
    "quotient": ("/", ("divides", "returns the quotient of")),
}


def function(draw: Draw) -> Program:
    """A function of one or two arguments."""
    path, name = draw.path("py"), draw.function_name()
    u = draw.rng.random()
    if u < 0.4:
        what = draw.choice(tuple(OPERATIONS))
        sign, verbs = OPERATIONS[what]
        a, b = ("a", "b") if draw.chance(0.6) else (draw.noun(), draw.noun())
        if a == b:
            a, b = "a", "b"
        name = {"sum": "add", "product": "multiply", "difference": "subtract", "quotient": "divide"}[what]
        if draw.chance(0.4):
            name = draw.function_name()
        request = say(
            draw,
            (
                f"{MAKE} {{f}} with a function {{g}} that {{v}} {{a}} and {{b}}",
                f"{MAKE} {{f}} with a function [called|named] {{g}} that {{v}} {{a}} and {{b}}",
                f"{MAKE} a function {{g}} that {{v}} {{a}} and {{b}} in {{f}}",
                f"{MAKE} {{f}} with {{g}}({{a}}, {{b}}) that {{v}} them",
                f"{MAKE} {{f}} with a function {{g}}({{a}}, {{b}}) that returns the {{w}}",
                "define {g}({a}, {b}) in {f} that returns the {w}",
            ),
            polite=True,
            f=path,
            g=name,
            v=draw.choice(verbs),
            a=a,
            b=b,
            w=what,
        )
        lines = [f"def {name}({a}, {b}):", f"    return {a} {sign} {b}"]
        return Program(path, lines, request, f"with the function {name}", f"{name}|{a}|{b}")
    argument = draw.noun()
    if u < 0.6:
        value = quoted_or_number(draw)
        request = say(
            draw,
            (
                f"{MAKE} {{f}} with a function {{g}} that returns {{x}}",
                f"{MAKE} {{f}} with a function [called|named] {{g}} returning {{x}}",
                f"{MAKE} a function {{g}} in {{f}} that returns {{x}}",
                f"{MAKE} {{f}} where {{g}}() returns {{x}}",
                "define {g}() in {f} that returns {x}",
            ),
            polite=True,
            f=path,
            g=name,
            x=value,
        )
        lines = [f"def {name}():", f"    return {value}"]
        return Program(path, lines, request, f"with the function {name}", f"{name}|{value}")
    verb, body = draw.choice(
        (
            ("returns {a}", "return {a}"),
            ("prints {a}", "print({a})"),
            ("returns {a} times two", "return {a} * 2"),
            ("doubles {a}", "return {a} * 2"),
            ("returns the square of {a}", "return {a} * {a}"),
            ("squares {a}", "return {a} * {a}"),
            ("returns the length of {a}", "return len({a})"),
            ("returns {a} in upper case", "return {a}.upper()"),
            ("returns {a} reversed", "return {a}[::-1]"),
            ("returns {a} plus one", "return {a} + 1"),
        )
    )
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with a function {{g}} that {{v}}",
            f"{MAKE} {{f}} with a function [called|named] {{g}} that {{v}}",
            f"{MAKE} {{f}} with a function {{g}}({{a}}) that {{v}}",
            f"{MAKE} a function {{g}} in {{f}} that takes {{a}} and {{v}}",
            f"{MAKE} {{f}} with a function {{g}} which takes {{a}} and {{v}}",
            "define {g}({a}) in {f} that {v}",
        ),
        polite=True,
        f=path,
        g=name,
        a=argument,
        v=verb.replace("{a}", argument),
    )
    lines = [f"def {name}({argument}):", f"    {body.replace('{a}', argument)}"]
    return Program(path, lines, request, f"with the function {name}", f"{name}|{argument}")


def quoted_or_number(draw: Draw) -> str:
    """A literal: a number, a string in double quotes, or a truth value."""
    u = draw.rng.random()
    return draw.number() if u < 0.5 else f'"{draw.phrase(1, 2)}"' if u < 0.9 else draw.choice(("True", "False"))


def greet_function(draw: Draw) -> Program:
    """A function that greets its argument."""
    path, name = draw.path("py"), draw.choice(("greet", "greet", "say_hello", "welcome", "hello"))
    word = draw.choice(("Hello", "Hi", "Welcome", "Goodbye", "Good morning", "Hey"))
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with a function {{g}} that takes a name and [prints|says] {{w}} and the name",
            f"{MAKE} {{f}} with a function {{g}} that prints {{w}} and the name",
            f"{MAKE} {{f}} with {{g}}(name) that prints {{w}} name",
            f"{MAKE} a function {{g}} in {{f}} that says {{w}} to a name",
        ),
        polite=True,
        f=path,
        g=name,
        w=word,
    )
    lines = [f"def {name}(name):", f'    print(f"{word}, {{name}}!")']
    return Program(path, lines, request, f"with the function {name}", f"{name}|{word}")


def data_class(draw: Draw) -> Program:
    """A class with fields."""
    path, name = draw.path("py"), draw.class_name()
    fields = list(dict.fromkeys(draw.noun() for _ in range(draw.between(1, 4))))
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with a class {{c}} with the fields {{x}}",
            f"{MAKE} {{f}} with a class {{c}} that has {{x}}",
            f"{MAKE} {{f}} with a class [called|named] {{c}} with {{x}}",
            f"{MAKE} a class {{c}} with {{x}} in {{f}}",
            f"{MAKE} a class {{c}} in {{f}} with the attributes {{x}}",
            "define a class {c} with {x} in {f}",
        ),
        polite=True,
        f=path,
        c=name,
        x=and_list(fields) if draw.chance(0.8) else ", ".join(fields),
    )
    lines = [f"class {name}:", f"    def __init__(self, {', '.join(fields)}):"]
    lines += [f"        self.{field} = {field}" for field in fields]
    return Program(path, lines, request, f"with the class {name}", f"{name}|{fields}")


def class_with_method(draw: Draw) -> Program:
    """A class with one method that prints."""
    path, name, method = draw.path("py"), draw.class_name(), draw.function_name()
    if draw.chance(0.4):
        name, method = draw.choice(
            (("Dog", "bark"), ("Cat", "meow"), ("Car", "drive"), ("Bird", "fly"), ("Person", "speak"))
        )
    text = draw.message() if draw.chance(0.6) else draw.short_word()
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with a class {{c}} with a method {{m}} that prints {{x}}",
            f"{MAKE} {{f}} with a class {{c}} that has a method {{m}} which prints {{x}}",
            f"{MAKE} a class {{c}} in {{f}} with a method {{m}} that prints {{x}}",
            f"{MAKE} a class {{c}} with {{m}}() printing {{x}} in {{f}}",
        ),
        polite=True,
        f=path,
        c=name,
        m=method,
        x=quoted(draw, text),
    )
    lines = [f"class {name}:", f"    def {method}(self):", f'        print("{text}")']
    return Program(path, lines, request, f"with the class {name}", f"{name}|{method}|{text}")


def web_page(draw: Draw) -> Program:
    """An HTML page with a title and perhaps a paragraph."""
    path = "index.html" if draw.chance(0.5) else draw.path("html")
    title = draw.phrase(1, 3).rstrip(".!?")
    text = draw.phrase(2, 6) if draw.chance(0.4) else ""
    request = say(
        draw,
        (
            f"{MAKE} [|a web page |a page |an html page |an html file ]{{f}} with the title {{x}}{{t}}",
            f"{MAKE} [|a web page |a page |an html page ]{{f}} with the heading {{x}}{{t}}",
            f"{MAKE} [|a web page |a page |an html page ]{{f}} that says {{x}}{{t}}",
            f"{MAKE} {{f}} with a heading {{x}}{{t}}",
            f"{MAKE} {{f}} with an h1 {{x}}{{t}}",
            "[create|make] a [|simple ]website {f} [titled|with the title] {x}{t}",
        ),
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
    request = say(
        draw,
        (
            f"{MAKE} {{f}} that makes the {{p}} of {{s}} {{c}}",
            f"{MAKE} {{f}} with a {{c}} {{p}} for {{s}}",
            f"{MAKE} {{f}} that sets the {{p}} of {{s}} to {{c}}",
            f"{MAKE} a stylesheet {{f}} with a {{c}} {{p}} for {{s}}",
        ),
        polite=True,
        f=path,
        s=selector,
        c=color,
        p=spoken,
    )
    return Program(
        path,
        [f"{selector} {{", f"  {prop}: {color};", "}"],
        request,
        f"with {spoken} {color} for {selector}",
        f"{selector}|{color}",
    )


def variables(draw: Draw) -> Program:
    """A Python file with constants."""
    path = draw.path("py")
    pairs = {draw.identifier(): quoted_or_number(draw) for _ in range(draw.between(1, 3))}
    link = draw.choice((" = ", " = ", " set to ", "="))
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with {{x}}",
            f"{MAKE} {{f}} [with the variables|defining|that sets|that defines] {{x}}",
            f"{MAKE} {{f}} with [a variable|the variable] {{x}}" if len(pairs) == 1 else f"{MAKE} {{f}} with {{x}}",
        ),
        polite=True,
        f=path,
        x=and_list([f"{k}{link}{v}" for k, v in pairs.items()]),
    )
    names = and_list(list(pairs))
    return Program(path, [f"{k} = {v}" for k, v in pairs.items()], request, f"with {names}", str(pairs))


def list_program(draw: Draw) -> Program:
    """A list of words and a loop that prints it."""
    path, name = draw.path("py"), draw.choice(("items", "names", "words", draw.noun() + "s"))
    items = list(dict.fromkeys(draw.thing() for _ in range(draw.between(2, 5))))
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with a list {{n}} of {{x}} and print each one",
            f"{MAKE} {{f}} with a list {{n}} of {{x}} and a loop that prints them",
            f"{MAKE} {{f}} that loops over {{n}} with {{x}} and prints each",
            f"{MAKE} {{f}} where {{n}} is a list of {{x}}, print every item",
        ),
        polite=True,
        f=path,
        n=name,
        x=and_list(items),
    )
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
    request = say(
        draw,
        (
            f"{MAKE} {NAMED}{{f}} that writes {{x}} to {{o}}",
            f"{MAKE} {{f}} that saves {{x}} [to|in|into] {{o}}",
            f"{MAKE} {{f}} to write {{x}} into {{o}}",
        ),
        polite=True,
        f=path,
        o=other,
        x=quoted(draw, text),
    )
    lines = [f'with open("{other}", "w") as file:', f'    file.write("{text}\\n")']
    return Program(path, lines, request, f"that writes {text} to {other}", f"{other}|{text}")


def ask_input(draw: Draw) -> Program:
    """Ask for something and greet or echo."""
    path, what = draw.path("py"), draw.choice(("name", "name", "age", "city", "color", draw.noun()))
    request = say(
        draw,
        (
            f"{MAKE} {NAMED}{{f}} that asks for [a|your|the] {{w}} and prints it",
            f"{MAKE} {{f}} that asks the user for [a|their|the] {{w}} and prints it",
            f"{MAKE} {{f}} that reads [a|the] {{w}} [with|from] input and prints it",
        ),
        polite=True,
        f=path,
        w=what,
    )
    lines = [f'{what} = input("{what}: ")', f"print({what})"]
    return Program(path, lines, request, f"that asks for the {what} and prints it", what)


def argparse_program(draw: Draw) -> Program:
    """A command line with one argument."""
    path, name = draw.path("py"), draw.noun()
    request = say(
        draw,
        (
            f"{MAKE} {NAMED}{{f}} that takes {{n}} as an argument and prints it",
            f"{MAKE} {{f}} with argparse and an argument {{n}} that it prints",
            f"{MAKE} {{f}} with a command line argument {{n}} and print it",
            f"{MAKE} a command line [tool|script] {{f}} that takes {{n}} and prints it",
        ),
        polite=True,
        f=path,
        n=name,
    )
    lines = ["import argparse", "", "parser = argparse.ArgumentParser()", f'parser.add_argument("{name}")']
    lines += ["args = parser.parse_args()", f"print(args.{name})"]
    return Program(path, lines, request, f"that prints its argument {name}", name)


def pytest_test(draw: Draw) -> Program:
    """A test of one call."""
    module, name = draw.stem().replace("-", "_"), draw.function_name()
    path = f"test_{module}.py" if draw.chance(0.7) else f"tests/test_{module}.py"
    arguments = ", ".join(draw.number() for _ in range(draw.between(1, 2)))
    expected = draw.number()
    request = say(
        draw,
        (
            f"{MAKE} {{f}} that tests that {{g}}({{a}}) from {{m}} is {{e}}",
            f"{MAKE} a test in {{f}}: {{g}}({{a}}) from {{m}} should [be|return|equal] {{e}}",
            f"{MAKE} a test {{f}} that checks {{g}}({{a}}) from {{m}} returns {{e}}",
            f"{MAKE} a pytest test {{f}} for {{g}} from {{m}}: {{g}}({{a}}) is {{e}}",
        ),
        polite=True,
        f=path,
        g=name,
        a=arguments,
        m=module,
        e=expected,
    )
    lines = [f"from {module} import {name}", "", "", f"def test_{name}():"]
    lines += [f"    assert {name}({arguments}) == {expected}"]
    return Program(path, lines, request, f"that tests {name}", f"{module}|{name}|{arguments}")


def condition(draw: Draw) -> Program:
    """Compare a number and print one of two words."""
    path, name, limit = draw.path("py"), draw.noun(), draw.number()
    yes, no = draw.choice((("big", "small"), ("yes", "no"), ("high", "low"), ("pass", "fail"), ("old", "young")))
    request = say(
        draw,
        (
            f"{MAKE} {{f}} with a function check that prints {{y}} if {{n}} is over {{l}}, else {{o}}",
            f"{MAKE} {{f}} with check({{n}}) that prints {{y}} when {{n}} is above {{l}} and {{o}} otherwise",
        ),
        polite=True,
        f=path,
        n=name,
        l=limit,
        y=yes,
        o=no,
    )
    lines = [f"def check({name}):", f"    if {name} > {limit}:", f'        print("{yes}")', "    else:"]
    lines += [f'        print("{no}")']
    return Program(path, lines, request, "with the function check", f"{name}|{limit}")


def classic(draw: Draw) -> Program:
    """A well-known program, with a file name or its usual one."""
    names, usual, code = draw.choice(CLASSICS)
    what = draw.choice(names)
    lines = code.strip("\n").split("\n")
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
