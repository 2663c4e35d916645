// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Torch's package has ProcessGroupGloo.hpp, which includes Gloo's headers, and not these. Only
// their names are needed to construct a group; see names.h.
#pragma once
#include "gloo/names.h"
