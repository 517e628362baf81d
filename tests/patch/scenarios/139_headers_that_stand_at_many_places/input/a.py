class C0:
    def run(self):
        return 0


class C1:
    def run(self):
        return 0


class C2:
    def run(self):
        return 0


class C3:
    def run(self):
        return 0


class C4:
    def run(self):
        return 0


class C5:
    def run(self):
        return 0


class C6:
    def run(self):
        return 0


class C7:
    def run(self):
        return 0


class C8:
    def run(self):
        return 0


class C9:
    def run(self):
        return 0


class C10:
    def run(self):
        return 0


class C11:
    def run(self):
        return 0


class C12:
    def run(self):
        return 0


class C13:
    def run(self):
        return 0


class C14:
    def run(self):
        return 0


class C15:
    def run(self):
        return 0


class C16:
    def run(self):
        return 0


class C17:
    def run(self):
        return 0


class C18:
    def run(self):
        return 0


class C19:
    def run(self):
        return 0


class C20:
    def run(self):
        return 0


class C21:
    def run(self):
        return 0


class C22:
    def run(self):
        return 0


class C23:
    def run(self):
        return 0


class C24:
    def run(self):
        return 0


class C25:
    def run(self):
        return 0


class C26:
    def run(self):
        return 0


class C27:
    def run(self):
        return 0


class C28:
    def run(self):
        return 0


class C29:
    def run(self):
        return 0


class C30:
    def run(self):
        return 0


class C31:
    def run(self):
        return 0


class C32:
    def run(self):
        return 0


class C33:
    def run(self):
        return 0


class C34:
    def run(self):
        return 0


class C35:
    def run(self):
        return 0


class C36:
    def run(self):
        return 0


class C37:
    def run(self):
        return 0


class C38:
    def run(self):
        return 0


class C39:
    def run(self):
        return 0


class C40:
    def run(self):
        return 0


class C41:
    def run(self):
        return 0


class C42:
    def run(self):
        return 0


class C43:
    def run(self):
        return 0


class C44:
    def run(self):
        return 0


class C45:
    def run(self):
        return 0


class C46:
    def run(self):
        return 0


class C47:
    def run(self):
        return 0


class C48:
    def run(self):
        return 0


class C49:
    def run(self):
        return 0


class C50:
    def run(self):
        return 0


class C51:
    def run(self):
        return 0


class C52:
    def run(self):
        return 0


class C53:
    def run(self):
        return 0


class C54:
    def run(self):
        return 0


class C55:
    def run(self):
        return 0


class C56:
    def run(self):
        return 0


class C57:
    def run(self):
        return 0


class C58:
    def run(self):
        return 0


class C59:
    def run(self):
        return 0


class C60:
    def run(self):
        return 0


class C61:
    def run(self):
        return 0


class C62:
    def run(self):
        return 0


class C63:
    def run(self):
        return 0


class C64:
    def run(self):
        return 0


class C65:
    def run(self):
        return 0


class C66:
    def run(self):
        return 0


class C67:
    def run(self):
        return 0


class C68:
    def run(self):
        return 0


class C69:
    def run(self):
        return 0
