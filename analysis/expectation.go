package analysis

// Outcomes of an Expectation.
const (
	Met    = "met"
	Missed = "missed"
)

// Expectation is a condition on the figures of a result. Detail has those that
// it uses, with their precision, or why there are none.
type Expectation struct {
	Expression string `json:"expression"`
	Outcome    string `json:"outcome"`
	Detail     string `json:"detail"`
	// Unmeasured says that a figure of it was not measured, or that it could not be judged.
	Unmeasured bool `json:"unmeasured,omitempty"`
	// Assumed says that a figure of it rests on what the Result lists as Assumed.
	Assumed bool `json:"assumed,omitempty"`
}

// Words are the Outcome in words.
func (e Expectation) Words() string {
	if e.Assumed {
		return e.Outcome + OnAssumed
	}
	return e.Outcome
}

// OnAssumed follows a verdict that rests on what nobody measured.
const OnAssumed = ", on assumed values"
