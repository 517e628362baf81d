function f() {
  c();
}
function g() {
  b();
}
