// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
int main() { return 0; }
