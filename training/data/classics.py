"""Programs that everybody asks for, each in one fixed form: names people use, usual file, code."""

from __future__ import annotations

CLASSICS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("fizzbuzz", "fizz buzz", "FizzBuzz"),
        "fizzbuzz.py",
        """
for number in range(1, 101):
    if number % 15 == 0:
        print("FizzBuzz")
    elif number % 3 == 0:
        print("Fizz")
    elif number % 5 == 0:
        print("Buzz")
    else:
        print(number)
""",
    ),
    (
        ("fibonacci", "fibonacci function", "fibonacci program", "fib"),
        "fibonacci.py",
        """
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


for i in range(10):
    print(fibonacci(i))
""",
    ),
    (
        ("factorial function", "factorial", "factorial program"),
        "factorial.py",
        """
def factorial(n):
    result = 1
    for i in range(2, n + 1):
        result *= i
    return result


print(factorial(5))
""",
    ),
    (
        ("prime check", "prime number checker", "is_prime function", "prime checker", "prime test"),
        "primes.py",
        """
def is_prime(n):
    if n < 2:
        return False
    for i in range(2, int(n**0.5) + 1):
        if n % i == 0:
            return False
    return True


print([n for n in range(50) if is_prime(n)])
""",
    ),
    (
        ("calculator", "simple calculator"),
        "calculator.py",
        """
a = float(input("First number: "))
sign = input("Operation (+ - * /): ")
b = float(input("Second number: "))

if sign == "+":
    print(a + b)
elif sign == "-":
    print(a - b)
elif sign == "*":
    print(a * b)
elif sign == "/":
    print(a / b)
else:
    print("Unknown operation")
""",
    ),
    (
        ("guessing game", "number guessing game", "guess the number game"),
        "guess.py",
        """
import random

secret = random.randint(1, 100)
while True:
    guess = int(input("Your guess: "))
    if guess < secret:
        print("Too low")
    elif guess > secret:
        print("Too high")
    else:
        print("Correct!")
        break
""",
    ),
    (
        ("dice roller", "dice", "dice program", "die roll"),
        "dice.py",
        """
import random

print(random.randint(1, 6))
""",
    ),
    (
        ("coin flip", "coin toss"),
        "coin.py",
        """
import random

print(random.choice(["heads", "tails"]))
""",
    ),
    (
        ("countdown", "countdown timer", "timer"),
        "countdown.py",
        """
import time

for second in range(10, 0, -1):
    print(second)
    time.sleep(1)
print("Done!")
""",
    ),
    (
        ("password generator", "random password generator"),
        "password.py",
        """
import secrets
import string

letters = string.ascii_letters + string.digits
print("".join(secrets.choice(letters) for _ in range(16)))
""",
    ),
    (
        ("rock paper scissors", "rock paper scissors game"),
        "game.py",
        """
import random

wins = {"rock": "scissors", "paper": "rock", "scissors": "paper"}
you = input("rock, paper or scissors? ")
computer = random.choice(list(wins))
print("Computer:", computer)
if you == computer:
    print("Draw")
elif wins.get(you) == computer:
    print("You win")
else:
    print("You lose")
""",
    ),
    (
        ("word counter", "word count", "word count program"),
        "count.py",
        """
import sys

text = open(sys.argv[1]).read()
print(len(text.split()))
""",
    ),
    (
        ("todo app", "todo list app", "todo program"),
        "todo.py",
        """
tasks = []
while True:
    task = input("New task (empty to stop): ")
    if not task:
        break
    tasks.append(task)

for number, task in enumerate(tasks, 1):
    print(number, task)
""",
    ),
    (
        ("temperature converter", "celsius to fahrenheit converter"),
        "temperature.py",
        """
def to_fahrenheit(celsius):
    return celsius * 9 / 5 + 32


def to_celsius(fahrenheit):
    return (fahrenheit - 32) * 5 / 9


print(to_fahrenheit(20))
""",
    ),
    (
        ("web server", "http server", "simple web server"),
        "server.py",
        """
from http.server import HTTPServer, SimpleHTTPRequestHandler

server = HTTPServer(("localhost", 8000), SimpleHTTPRequestHandler)
print("http://localhost:8000")
server.serve_forever()
""",
    ),
    (
        ("bubble sort", "sort function", "sorting algorithm"),
        "sort.py",
        """
def bubble_sort(items):
    for end in range(len(items) - 1, 0, -1):
        for i in range(end):
            if items[i] > items[i + 1]:
                items[i], items[i + 1] = items[i + 1], items[i]
    return items


print(bubble_sort([5, 2, 4, 1, 3]))
""",
    ),
    (
        ("binary search", "binary search function"),
        "search.py",
        """
def binary_search(items, wanted):
    low, high = 0, len(items) - 1
    while low <= high:
        middle = (low + high) // 2
        if items[middle] == wanted:
            return middle
        if items[middle] < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1
""",
    ),
    (
        ("palindrome check", "palindrome checker", "palindrome function"),
        "palindrome.py",
        """
def is_palindrome(text):
    text = text.lower()
    return text == text[::-1]


print(is_palindrome("level"))
""",
    ),
    (
        ("multiplication table", "times table"),
        "table.py",
        """
for a in range(1, 11):
    print(" ".join(str(a * b) for b in range(1, 11)))
""",
    ),
    (
        ("clock", "program that prints the time", "script that prints the current time", "time script"),
        "clock.py",
        """
from datetime import datetime

print(datetime.now().strftime("%H:%M:%S"))
""",
    ),
    (
        ("date script", "script that prints the date", "program that prints today's date"),
        "today.py",
        """
from datetime import date

print(date.today())
""",
    ),
    (
        ("program that prints even numbers", "even numbers program", "script that prints even numbers"),
        "even.py",
        """
for number in range(2, 101, 2):
    print(number)
""",
    ),
    (
        ("leap year check", "leap year function", "leap year checker"),
        "leap.py",
        """
def is_leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


print(is_leap(2024))
""",
    ),
    (
        ("linked list", "linked list class"),
        "linked_list.py",
        """
class Node:
    def __init__(self, value, next=None):
        self.value = value
        self.next = next


class LinkedList:
    def __init__(self):
        self.head = None

    def push(self, value):
        self.head = Node(value, self.head)
""",
    ),
    (
        ("stack class", "stack"),
        "stack.py",
        """
class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        return self.items.pop()
""",
    ),
    (
        ("quiz", "quiz game"),
        "quiz.py",
        """
questions = {"2 + 2": "4", "3 * 3": "9", "10 - 7": "3"}
score = 0
for question, answer in questions.items():
    if input(question + " = ") == answer:
        score += 1
print("Score:", score)
""",
    ),
    (
        (
            "function that adds two numbers",
            "add function",
            "program that adds two numbers",
            "script that adds two numbers",
            "sum function",
        ),
        "add.py",
        """
def add(a, b):
    return a + b


print(add(2, 3))
""",
    ),
    (
        (
            "function that multiplies two numbers",
            "multiply function",
            "program that multiplies two numbers",
        ),
        "multiply.py",
        """
def multiply(a, b):
    return a * b


print(multiply(2, 3))
""",
    ),
    (
        (
            "function that reverses a string",
            "reverse string function",
            "string reverser",
            "program that reverses a string",
            "function that reverses a word",
        ),
        "reverse.py",
        """
def reverse(text):
    return text[::-1]


print(reverse("hello"))
""",
    ),
    (
        (
            "function that checks if a number is even",
            "even check",
            "is_even function",
            "odd or even program",
            "even or odd checker",
        ),
        "is_even.py",
        """
def is_even(number):
    return number % 2 == 0


print(is_even(4))
""",
    ),
    (
        (
            "function that finds the largest number",
            "function that finds the maximum of a list",
            "max function",
        ),
        "largest.py",
        """
def largest(numbers):
    best = numbers[0]
    for number in numbers:
        if number > best:
            best = number
    return best


print(largest([3, 9, 4]))
""",
    ),
    (
        (
            "vowel counter",
            "function that counts vowels",
            "program that counts vowels",
        ),
        "vowels.py",
        """
def count_vowels(text):
    return sum(letter in "aeiou" for letter in text.lower())


print(count_vowels("hello"))
""",
    ),
    (
        (
            "greatest common divisor function",
            "gcd function",
            "gcd",
        ),
        "gcd.py",
        """
def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


print(gcd(12, 18))
""",
    ),
    (
        (
            "average function",
            "function that computes the average",
            "program that computes the average of a list",
        ),
        "average.py",
        """
def average(numbers):
    return sum(numbers) / len(numbers)


print(average([1, 2, 3]))
""",
    ),
    (
        (
            "random number generator",
            "random number program",
            "script that prints a random number",
        ),
        "random_number.py",
        """
import random

print(random.randint(1, 100))
""",
    ),
    (
        (
            "script that lists files",
            "program that lists files",
            "file lister",
            "script that lists all files",
        ),
        "list_files.py",
        """
from pathlib import Path

for path in sorted(Path(".").iterdir()):
    print(path.name)
""",
    ),
    (
        (
            "greeting program",
            "greeter",
            "program that asks for your name",
            "script that asks for a name",
            "program that greets the user",
        ),
        "greet.py",
        """
name = input("Your name: ")
print(f"Hello, {name}!")
""",
    ),
    (
        (
            "readme",
            "README",
            "readme file",
            "README file",
        ),
        "README.md",
        """
# Project

What it does and how to use it.
""",
    ),
    (
        (
            "web page",
            "website",
            "html page",
            "webpage",
            "landing page",
            "simple website",
            "home page",
        ),
        "index.html",
        """
<!DOCTYPE html>
<html>
<head>
  <title>My page</title>
</head>
<body>
  <h1>Hello, world!</h1>
</body>
</html>
""",
    ),
    (
        (
            "python gitignore",
            ".gitignore for python",
            ".gitignore for a python project",
        ),
        ".gitignore",
        """
.venv
__pycache__
*.pyc
.env
dist
""",
    ),
    (
        (
            "node gitignore",
            ".gitignore for node",
            ".gitignore for a node project",
        ),
        ".gitignore",
        """
node_modules
dist
.env
*.log
""",
    ),
    (
        (
            "dockerfile",
            "Dockerfile",
            "dockerfile for python",
            "Dockerfile for a python app",
        ),
        "Dockerfile",
        """
FROM python:3.12-slim
WORKDIR /app
COPY . .
CMD ["python", "main.py"]
""",
    ),
    (
        (
            "makefile",
            "Makefile",
        ),
        "Makefile",
        """
run:
	python main.py

test:
	pytest
""",
    ),
    (
        (
            "flask app",
            "flask server",
            "simple flask app",
            "hello world flask app",
        ),
        "app.py",
        """
from flask import Flask

app = Flask(__name__)


@app.route("/")
def index():
    return "Hello, world!"
""",
    ),
    (
        (
            "unit test",
            "pytest test",
            "simple test",
            "example test",
        ),
        "test_example.py",
        """
def test_sum():
    assert 1 + 1 == 2
""",
    ),
    (
        (
            "logger",
            "logging setup",
            "logging example",
        ),
        "log.py",
        """
import logging

logging.basicConfig(level=logging.INFO)
logging.info("started")
""",
    ),
    (
        (
            "package.json",
            "package json",
        ),
        "package.json",
        """
{
  "name": "app",
  "version": "1.0.0",
  "main": "index.js"
}
""",
    ),
    (
        (
            "pyproject.toml",
            "pyproject",
        ),
        "pyproject.toml",
        """
[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.11"
""",
    ),
)
