package incluster

import "slices"

// platformAPIs are the versions of the CNB platform specification whose flags
// the phases use, newest first.
var platformAPIs = []string{platformAPI, "0.12", "0.11", "0.10"}

// ChoosePlatformAPI returns the newest version that a builder's lifecycle
// supports and this package speaks, "" when there is none.
func ChoosePlatformAPI(supported []string) string {
	i := slices.IndexFunc(platformAPIs, func(v string) bool { return slices.Contains(supported, v) })
	if i < 0 {
		return ""
	}
	return platformAPIs[i]
}

// platformAPI is the version that all phases of a build speak.
func (p Platform) platformAPI() string {
	if p.Builder != nil {
		return p.Builder.PlatformAPI
	}
	return platformAPI
}

// ids are the user and the group of all phases: what the builder's files
// belong to.
func (p Platform) ids() (user, group int64) {
	if p.Builder != nil {
		return p.Builder.UserID, p.Builder.GroupID
	}
	return userID, userID
}

// runImage replaces the one that the lifecycle's own image names, when not
// empty: another builder's run image stands in no file of the platform's.
func (p Platform) runImage() string {
	if p.RunImage == "" && p.Builder != nil {
		return p.Builder.RunImage
	}
	return p.RunImage
}
