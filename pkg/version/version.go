// Package version says which build this is. Release builds set it with
//
//	-ldflags "-X github.com/rancher/rancheros-operator/pkg/version.Version=v1.2.3 -X .../version.Commit=abcdef0"
//
// and every other build takes what the Go toolchain recorded.
package version

import "runtime/debug"

// Version and Commit are set by the linker, and by nothing else.
var (
	Version string
	Commit  string
)

// shortCommit is how many digits of a commit people read.
const shortCommit = 12

// Info is one build.
type Info struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	// Go is the toolchain's version.
	Go string `json:"go"`
}

// Get returns this build's. Unknown values are "dev" and "unknown", never empty.
func Get() Info {
	info := Info{Version: Version, Commit: Commit}
	build, ok := debug.ReadBuildInfo()
	if ok {
		info.Go = build.GoVersion
		if info.Version == "" && build.Main.Version != "(devel)" {
			info.Version = build.Main.Version
		}
		if info.Commit == "" {
			info.Commit = recordedCommit(build.Settings)
		}
	}
	if info.Version == "" {
		info.Version = "dev"
	}
	if info.Commit == "" {
		info.Commit = "unknown"
	}
	return info
}

// String is "v1.2.3 (abcdef012345)".
func (i Info) String() string { return i.Version + " (" + i.Commit + ")" }

func recordedCommit(settings []debug.BuildSetting) string {
	commit, dirty := "", ""
	for _, setting := range settings {
		switch {
		case setting.Key == "vcs.revision":
			commit = setting.Value[:min(len(setting.Value), shortCommit)]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty
}
