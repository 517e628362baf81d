function f() {
  const x = 1;
  return x;
}

function g() {
  const x = 2;
  return x;
}
