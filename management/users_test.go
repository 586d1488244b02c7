package management

import (
	"net/http/httptest"
	"testing"
)

func TestAPasswordInAPathIsNotLogged(t *testing.T) {
	for path, want := range map[string]string{
		"/api/auth/hash_password/s3cret": "/api/auth/hash_password/…", "/api/auth/hash_password/s3/cret": "/api/auth/hash_password/…",
		"/api/auth/hash%5Fpassword/s3cret": "/api/auth/hash_password/…", "/api/users/ann": "/api/users/ann",
	} {
		if got := (&call{r: httptest.NewRequest("GET", path, nil)}).shownPath(); got != want {
			t.Errorf("%s is shown as %s", path, got)
		}
	}
}
