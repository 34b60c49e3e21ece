// Package golden compares what is emitted with files that people have read: each file in a package's testdata is the
// whole of one document. After a change that is meant, write them anew and read the difference:
//
//	go test ./pkg/controllers/osimage ./pkg/controllers/oschannel ./pkg/cloudconfig -update && git diff
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Equal fails the test unless got is what testdata/name holds.
func Equal(t testing.TB, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run this test with -update to make the file")
	if difference := cmp.Diff(string(want), string(got)); difference != "" {
		t.Errorf("%s is not what is emitted (-file +emitted); if that is meant, run with -update:\n%s", file, difference)
	}
}
