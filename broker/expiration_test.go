package broker

import "testing"

func TestExpirationsAreWholeNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"0": "", "1000": "", "315360000000": "", "+5": "", "-0": "", "007": "",
		"-1": "{value_negative,-1}", "-99999999999999999999": "{value_negative,-99999999999999999999}",
		"x": "no_integer", "": "no_integer", " 1": "no_integer", "-": "no_integer", "+": "no_integer", "+-1": "no_integer",
		"1.5": `{leftover_string,".5"}`, "-1s": `{leftover_string,"s"}`, "5 ": `{leftover_string," "}`,
		"315360000001": "{value_too_large,315360000001}", "00099999999999999999999": "{value_too_large,99999999999999999999}",
	} {
		err := CheckExpiration([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || KindOf(err) != Precondition || err.Error() != "invalid expiration '"+text+"': "+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
