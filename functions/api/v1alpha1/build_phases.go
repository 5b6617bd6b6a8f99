package v1alpha1

// Container is the name of the container in which a step runs. Steps of the
// same trust share one: analyze also restores, and build also detects.
func (p PhaseName) Container() PhaseName {
	switch p {
	case PhaseRestore:
		return PhaseAnalyze
	case PhaseDetect:
		return PhaseBuild
	}
	return p
}
