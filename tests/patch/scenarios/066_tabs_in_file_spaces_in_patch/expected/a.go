func f() {
	if x {
		z()
			w()
	}
}
