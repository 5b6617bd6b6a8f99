package v1alpha1

// Keys of the platform's settings about git sources.
const (
	// SettingGitHosts lists the only hosts that sources come from; all when empty.
	SettingGitHosts = "git-allowed-hosts"
	// SettingGitRanges lists address ranges of git servers that are not public.
	SettingGitRanges = "git-allowed-cidrs"
	// SettingGitKnownHosts holds the keys of SSH servers, in the form of an
	// OpenSSH known_hosts file, for Secrets that bring none.
	SettingGitKnownHosts = "git-known-hosts"
)

// AnnotationRebuild is on a Function. Another value asks for another look at
// the branch of its git source.
const AnnotationRebuild = "knit.dev/rebuild"
