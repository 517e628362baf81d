class A:
    def f(self):
        if y:
            x = 2
        return x
