package version

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGet(t *testing.T) {
	require.NotEmpty(t, Get().Version)
	require.NotEmpty(t, Get().Commit)

	Version, Commit = "v1.2.3", "abcdef0"
	t.Cleanup(func() { Version, Commit = "", "" })
	require.Equal(t, "v1.2.3 (abcdef0)", Get().String(), "what the linker says wins")
}

func TestRecordedCommit(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	for _, c := range []struct {
		why      string
		settings []debug.BuildSetting
		want     string
	}{
		{"built outside a repository", nil, ""},
		{"cut to what people read", []debug.BuildSetting{revision}, "0123456789ab"},
		{"uncommitted changes show", []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "true"}}, "0123456789ab-dirty"},
		{"a dirty tree without commit is unknown", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, ""},
	} {
		require.Equal(t, c.want, recordedCommit(c.settings), c.why)
	}
}
