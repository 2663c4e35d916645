// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/dist/launch.h"

#include <gmock/gmock.h>

#include <map>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::dist {

using ::corda::testing::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

namespace {

using Variables = std::map<std::string, std::string>;

Environment environment(Variables variables) {
  return [variables = std::move(variables)](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

std::optional<Launch> launch(Variables variables) {
  return launch_of(environment(std::move(variables)));
}

std::string refusal(Variables variables) {
  return error_of<core::ConfigError>([&] { launch(std::move(variables)); });
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

const Variables kTorchrun = {{"RANK", "3"},
                             {"WORLD_SIZE", "4"},
                             {"LOCAL_RANK", "1"},
                             {"MASTER_ADDR", "node7"},
                             {"MASTER_PORT", "29500"},
                             {"TORCHELASTIC_RUN_ID", "abc"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
const Variables kSrun = {{"SLURM_PROCID", "5"},    {"SLURM_STEP_NUM_TASKS", "8"},
                         {"SLURM_LOCALID", "1"},   {"SLURM_STEP_NODELIST", "gpu[03-04]"},
                         {"SLURM_JOB_ID", "1234"}, {"SLURM_STEP_ID", "0"},
                         {"SLURM_NTASKS", "8"}};
const Variables kMpirun = {{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                           {"PMIX_NAMESPACE", "prterun-host-77@1"}};

TEST(Launch, OfAProcessStartedAloneIsNone) {
  EXPECT_FALSE(launch({}));
  EXPECT_FALSE(launch({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
}

TEST(Launch, OfTorchrunMeetsAtTheAgentsStore) {
  const Launch found = launch(kTorchrun).value();
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.address, "node7");
  EXPECT_EQ(found.port, 29500);
  EXPECT_TRUE(found.hosted);
  EXPECT_EQ(found.start, "abc/2");  // a restarted job must not read what the first one left
}

TEST(Launch, OfRankAndWorldSizeAloneLetsRankZeroListen) {
  Variables own = kTorchrun;
  for (const char* name :
       {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_USE_AGENT_STORE"})
    own.erase(name);
  EXPECT_FALSE(launch(own)->hosted);
}

TEST(Launch, OfSrunMeetsAtTheFirstNodeOfTheStep) {
  const Launch found = launch(kSrun).value();
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.address, "gpu03");
  EXPECT_EQ(found.port, 20000 + 1234 * 31 % 20000);
  const Launch next = launch(with(kSrun, {{"SLURM_STEP_ID", "1"}})).value();
  EXPECT_NE(next.port, found.port);
  EXPECT_EQ(launch(with(kSrun, {{"MASTER_ADDR", "x"}, {"MASTER_PORT", "5"}}))->address, "x");
}

// Slurm sets a job's variables in the batch script itself, where nothing is parallel.
TEST(Launch, OfABatchScriptOfSlurmIsNone) {
  Variables script = kSrun;
  script.erase("SLURM_STEP_ID");
  script.erase("SLURM_STEP_NUM_TASKS");
  EXPECT_FALSE(launch(script));
}

TEST(Launch, OfMpirunOnOneMachineMeetsByAFileOfTheJob) {
  const Launch found = launch(kMpirun).value();
  EXPECT_EQ(found.rank, 1);
  EXPECT_EQ(found.address, "");
  EXPECT_THAT(found.file, HasSubstr("prterun-host-77@1"));
  EXPECT_NE(launch(with(kMpirun, {{"PMIX_NAMESPACE", "other"}}))->file, found.file);
}

TEST(Launch, OfMpirunOnSeveralMachinesAsksForAnAddress) {
  const Variables several = with(kMpirun, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}});
  EXPECT_THAT(refusal(several), AllOf(HasSubstr("MASTER_ADDR"), HasSubstr("-x MASTER_PORT")));
  EXPECT_EQ(launch(with(several, {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "7"}}))->port, 7);
}

TEST(Launch, OfMpichIsReadByPmisNames) {
  const Launch found = launch({{"PMI_RANK", "0"},
                               {"PMI_SIZE", "2"},
                               {"MPI_LOCALRANKID", "0"},
                               {"MPI_LOCALNRANKS", "2"}})
                           .value();
  EXPECT_EQ(found.size, 2);
  EXPECT_FALSE(found.file.empty());
}

// mpiexec starts its proxies by srun, a task a node, and every rank inherits that task's variables.
TEST(Launch, OfMpichInAJobOfSlurmIsPmis) {
  const Variables proxy = with(kSrun, {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}});
  const Variables hydra = with(
      proxy,
      {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}});
  EXPECT_EQ(launch(hydra)->rank, 1);
  EXPECT_EQ(launch(hydra)->size, 2);
  // srun's own PMI says what srun says.
  const Variables pmi2 = with(kSrun, {{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}});
  EXPECT_EQ(launch(pmi2)->address, "gpu03");
  EXPECT_EQ(launch(with(kSrun, {{"PMI_RANK", "0"}}))->rank, 5) << "one alone is left over";
  EXPECT_THAT(refusal(with(proxy, {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}})),
              AllOf(HasSubstr("srun says rank 0 of 1"), HasSubstr("PMI_SIZE say rank 1 of 2")));
}

TEST(Launch, ContradictionsNameBothSides) {
  Variables torch = kTorchrun;
  torch.erase("TORCHELASTIC_RUN_ID");
  EXPECT_THAT(refusal(with(torch, kSrun)),
              AllOf(HasSubstr("rank 3 of 4"), HasSubstr("srun says rank 5 of 8")));
  // torchrun, started once a machine by srun, is no contradiction.
  EXPECT_EQ(launch(with(kTorchrun, kSrun))->rank, 3);
}

TEST(Launch, HalfOfAPairAndNumbersOutOfRangeAreRefused) {
  EXPECT_THAT(refusal({{"RANK", "0"}}), HasSubstr("RANK is set and WORLD_SIZE is not"));
  EXPECT_THAT(refusal({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasSubstr("allows 0 to 1"));
  EXPECT_THAT(refusal({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), HasSubstr("it is 'x'"));
  EXPECT_THAT(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}}), HasSubstr("MASTER_ADDR is not"));
  EXPECT_THAT(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}),
              HasSubstr("MASTER_PORT is not"));
}

TEST(OwnGpu, IsTheOneOfTheRanksPlaceOnItsMachine) {
  Launch second{.local_rank = 1};
  EXPECT_EQ(own_gpu(second, std::nullopt, 4), "1");
  EXPECT_EQ(own_gpu(second, "5, 7", 8), "7");
  EXPECT_EQ(own_gpu(second, "GPU-a,GPU-b", 8), "GPU-b");
}

TEST(OwnGpu, IsLeftToTheLauncherWhereItHasChosen) {
  EXPECT_EQ(own_gpu({.local_rank = 1}, "3", 8), std::nullopt);
  EXPECT_EQ(own_gpu({.local_rank = 1}, "", 8), std::nullopt);
  EXPECT_EQ(own_gpu({.local_rank = 0}, std::nullopt, 1), std::nullopt);
  EXPECT_EQ(own_gpu({.local_rank = 2}, std::nullopt, 2), std::nullopt);
  EXPECT_EQ(own_gpu({}, std::nullopt, 4), std::nullopt);
}

TEST(FirstHost, OfAListAsSlurmWritesIt) {
  EXPECT_EQ(first_host("node1"), "node1");
  EXPECT_EQ(first_host("a,b"), "a");
  EXPECT_EQ(first_host("node[03-07,9],other"), "node03");
  EXPECT_EQ(first_host("rack[2,4]-gpu,x"), "rack2-gpu");
  EXPECT_EQ(first_host("login,node[1-2]"), "login");
}

}  // namespace

}  // namespace corda::dist
